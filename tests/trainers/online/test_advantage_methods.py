"""grpo, gdpo, bnpo, adora and riskpo on the bundled model: they train, equal GRPO or TRL at their limits, and resume."""

import math
from pathlib import Path

import pytest
from launched_runs import assert_equal_weights
from model_weights import largest_difference
from online_worker import format_reward, reward, run

from alignkit.catalog import get
from alignkit.errors import InputError


# The rewards of these tests end a little above 1.
NEEDED = {"bnpo": {"reward_max": 5.0}, "riskpo": {"bundle_size": 2}}
ALIKE = {"loss_type": "dapo", "epsilon_high": None, "delta": None}


def task(model, key, output_dir, **config):
    config = {"max_steps": 2, "self_checks": False, **NEEDED.get(key, {}), **config}
    return {"model": model, "key": key, "output_dir": str(output_dir), "config": config}


def logs(trainer):
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("key", ["bnpo", "adora", "riskpo"])
def test_training_logs_every_metric_that_the_catalog_names(bundled_model_dir, tmp_path, key):
    entries = logs(run({**task(bundled_model_dir, key, tmp_path), "lora": True}))
    assert len(entries) == 2 and all(math.isfinite(entry["loss"] + entry["grad_norm"]) for entry in entries)
    assert {name.replace("<reward>", "reward") for name in get(key).metrics} <= set(entries[0])


def test_grpo_equals_trl_to_the_last_bit_and_cites_its_paper(bundled_model_dir, tmp_path):
    ours = run(task(bundled_model_dir, "grpo", tmp_path, shared_prefix="off"))
    # `self_checks` is a field of ours.
    theirs = run({**task(bundled_model_dir, "trl", tmp_path), "config": {"max_steps": 2}})
    assert largest_difference(theirs.model, ours.model) == 0.0
    assert ours._paper["id"] == "2402.03300" and ours._name == "GRPO"


@pytest.mark.parametrize("std_eps", [1e-4, 1.0001e-4], ids=["of-trl", "ours"])
def test_gdpo_equals_trls_normalize_then_sum(bundled_model_dir, tmp_path, std_eps):
    rewards = {"reward_funcs": [reward, format_reward]}
    own = {"reward_weights": [1.0, 0.5], "std_eps": std_eps, "shared_prefix": "off"}
    ours = run(task(bundled_model_dir, "gdpo", tmp_path, **own), **rewards)
    config = {"max_steps": 2, "multi_objective_aggregation": "normalize_then_sum", "reward_weights": [1.0, 0.5]}
    theirs = run({**task(bundled_model_dir, "trl", tmp_path), "config": config}, **rewards)
    assert largest_difference(theirs.model, ours.model) < 1e-5
    assert ours.parts["advantage"].own is (std_eps != 1e-4)


def test_bnpo_with_a_flat_density_is_grpo_without_scaling(bundled_model_dir, tmp_path):
    flat = {"density_alpha": 1.0, "density_beta": 1.0, "reward_min": 0.0, "reward_max": 2.0, **ALIKE}
    ours = run(task(bundled_model_dir, "bnpo", tmp_path, **flat))
    # Rewards mapped from [0, 2] to [0, 1] are half as large.
    theirs = run(task(bundled_model_dir, "grpo", tmp_path, scale_rewards="none", reward_weights=[0.5]))
    assert largest_difference(theirs.model, ours.model) < 2e-6


def test_adora_with_a_weight_of_one_is_grpo(bundled_model_dir, tmp_path):
    ours = run(task(bundled_model_dir, "adora", tmp_path, prompt_weight=1.0))
    theirs = run(task(bundled_model_dir, "grpo", tmp_path))
    assert largest_difference(theirs.model, ours.model) < 2e-6


def test_riskpo_resumes_with_its_quantiles_and_its_generator(bundled_model_dir, tmp_path):
    config = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    ours = run({**task(bundled_model_dir, "riskpo", whole, **config), "lora": True})
    cut.mkdir()
    (whole / "checkpoint-2").rename(cut / "checkpoint-2")
    resumed = run({**task(bundled_model_dir, "riskpo", cut, **config), "lora": True, "resume": True})
    assert_equal_weights(whole, cut)
    states = [trainer.parts["advantage"].state_dict() for trainer in (ours, resumed)]
    for name in ("quantiles", "generator"):
        assert states[0][name].tolist() == states[1][name].tolist()


def test_conditioned_rewards_are_what_gdpo_sees_and_the_raw_ones_are_logged(bundled_model_dir, tmp_path):
    shaping = {"name": "conditioned", "target": "reward", "condition": "format_reward", "threshold": 2.0}
    made = task(bundled_model_dir, "gdpo", tmp_path, reward_shaping=shaping)
    entry = logs(run(made, reward_funcs=[reward, format_reward]))[0]
    # The hard reward never reaches 2, so that the easy one is 0 everywhere.
    assert entry["rewards/reward/mean"] == 0.0 < entry["reward_shaping/raw/reward/mean"]


@pytest.mark.parametrize(
    ("key", "config", "message"),
    [
        ("gdpo", {"reward_shaping": {"name": "conditioned", "target": "a", "condition": "b"}}, "`target` is 'a'"),
        ("bnpo", {"reward_min": [0.0, 0.0]}, "`reward_min` has 2 numbers for 1 reward functions"),
    ],
)
def test_reward_functions_that_do_not_fit_are_refused_before_training(
    bundled_model_dir, tmp_path, key, config, message
):
    with pytest.raises(InputError, match=message):
        run(task(bundled_model_dir, key, tmp_path, **config))


@pytest.mark.parametrize("key", ["grpo", "gdpo", "bnpo", "adora", "riskpo"])
@pytest.mark.parametrize("variant", ["", "-full"])
def test_recipes_build(key, variant):
    from alignkit.config import load_run

    path = Path(__file__).parents[3] / "configs" / "online" / f"{key}{variant}.yaml"
    flags = ["--bf16", "false", "--use_vllm", "false"] if variant else []
    assert load_run(key, str(path), flags).training.warnings() == []
