"""mhpo, sapo, copo and apo_asymmetric on the bundled model: they train, equal GRPO at their limits, and refuse."""

import itertools
import math
import re

import pytest
import torch
from model_weights import largest_difference
from online_worker import run

import alignkit
from alignkit.catalog import get
from alignkit.errors import InputError


REUSED = {"num_iterations": 2}
# Numbers the answers of an extractor that never finds two of them the same.
TURN = itertools.count()


def task(model, key, output_dir, **config):
    return {"model": model, "key": key, "output_dir": str(output_dir), "config": {**REUSED, "max_steps": 2, **config}}


def logs(trainer):
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize(
    "key, config", [("mhpo", {}), ("sapo", {}), ("copo", {"answer_extractor": "boxed"}), ("apo_asymmetric", {})]
)
def test_training_logs_every_metric_that_the_catalog_names(bundled_model_dir, tmp_path, key, config):
    trainer = run({**task(bundled_model_dir, key, tmp_path, **config), "lora": True})
    entries = logs(trainer)
    assert len(entries) == 2 and all(math.isfinite(entry["loss"] + entry["grad_norm"]) for entry in entries)
    assert set(get(key).metrics) <= set().union(*entries)


def test_sapo_equals_trls_to_the_last_bit(bundled_model_dir, tmp_path):
    ours = run(task(bundled_model_dir, "sapo", tmp_path, max_steps=4, beta=0.1, shared_prefix="off"))
    theirs = run(task(bundled_model_dir, "trl", tmp_path, max_steps=4, beta=0.1, loss_type="sapo"))
    assert largest_difference(theirs.model, ours.model) == 0.0


@pytest.mark.parametrize("key, finite", [("trl", False), ("sapo", True)])
def test_sapo_keeps_the_gradient_finite_where_trls_is_nan(bundled_model_dir, tmp_path, key, finite):
    """A log-ratio of 90, which a routing mismatch can give, in the batch that the trainer's own loss sees."""
    trainer = run(task(bundled_model_dir, key, tmp_path, max_steps=1, **({} if finite else {"loss_type": "sapo"})))
    inputs = dict(trainer._buffered_inputs[0])
    inputs["old_per_token_logps"] = inputs["old_per_token_logps"].clone()
    inputs["old_per_token_logps"][0, 0] -= 90
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    assert inputs["advantages"][0] != 0 and loss.isfinite()
    gradients = torch.cat([weight.grad.flatten() for weight in trainer.model.parameters() if weight.grad is not None])
    assert bool(gradients.isfinite().all()) is finite


def test_mhpo_without_hazard_and_bound_is_grpo_without_clip(bundled_model_dir, tmp_path):
    off = {"lambda_pos": 1e9, "lambda_neg": 1e9, "c": 1e4}
    ours = run(task(bundled_model_dir, "mhpo", tmp_path, **off))
    theirs = run(task(bundled_model_dir, "online", tmp_path, loss_type="grpo", epsilon=1e6, epsilon_high=1e6))
    assert largest_difference(theirs.model, ours.model) < 2e-6


def test_copo_is_grpo_where_answers_always_disagree(bundled_model_dir, tmp_path):
    config = {"answer_extractor": f"{__file__}:whole_text_in_turn", "gamma": 1e4, "rho": 0.0}
    ours = run(task(bundled_model_dir, "copo", tmp_path, **config))
    theirs = run(task(bundled_model_dir, "online", tmp_path, loss_type="grpo"))
    assert largest_difference(theirs.model, ours.model) < 2e-6


def whole_text_in_turn(text):
    return f"{next(TURN)} {text}"


def test_apo_asymmetric_with_both_switched_off_is_grpo_with_plain_kl(bundled_model_dir, tmp_path):
    config = {"use_dads": False, "use_stcr": False, "beta": 0.1}
    ours = run(task(bundled_model_dir, "apo_asymmetric", tmp_path, **config))
    theirs = run(task(bundled_model_dir, "online", tmp_path, loss_type="grpo", beta=0.1, use_bias_correction_kl=False))
    assert largest_difference(theirs.model, ours.model) < 2e-6
    weighted = run(task(bundled_model_dir, "apo_asymmetric", tmp_path, use_stcr=False, beta=0.1))
    assert largest_difference(weighted.model, ours.model) > 1e-6


REFUSED = [
    ("SAPOConfig", {"sapo_temperature_pos": 0.0}, "sapo_temperature_pos.*0.0"),
    ("SAPOConfig", {"sapo_temperature_neg": -1.0}, "sapo_temperature_neg.*-1.0"),
    ("SAPOConfig", {"importance_sampling_level": "sequence"}, "importance_sampling_level.*another method"),
    ("SAPOConfig", {"epsilon": 0.1}, "epsilon"),
    ("SAPOConfig", {"epsilon_high": 0.28}, "epsilon_high"),
    ("SAPOConfig", {"delta": 2.0}, "delta"),
    ("SAPOConfig", {"use_liger_kernel": True}, "use_liger_kernel.*log-ratio"),
    ("SAPOConfig", {"loss_type": "grpo"}, "loss_type.*'sapo'"),
    ("MHPOConfig", {"k_pos": 0.0}, "k_pos"),
    ("MHPOConfig", {"epsilon": 0.1}, "epsilon.*clips nothing"),
    ("MHPOConfig", {"importance_sampling_level": "sequence"}, "importance_sampling_level"),
    ("COPOConfig", {}, "answer_extractor.*missing"),
    ("COPOConfig", {"answer_extractor": "boxed", "gamma": -1.0}, "gamma"),
    ("COPOConfig", {"answer_extractor": "boxed", "scale_rewards": "batch"}, "scale_rewards"),
    ("APOAsymmetricConfig", {"stcr_base": 0.5}, "stcr_base"),
    ("APOAsymmetricConfig", {"use_bias_correction_kl": False}, "use_bias_correction_kl"),
    ("OnlineConfig", {"policy_loss": "copo"}, "global_advantages.*local_weight"),
    ("OnlineConfig", {"advantage": "apo_asymmetric"}, "kl_weights.*another method"),
]


@pytest.mark.parametrize("name, fields, message", REFUSED)
def test_what_does_not_go_with_the_method_is_refused(tmp_path, name, fields, message):
    with pytest.raises(InputError, match=message):
        getattr(alignkit, name)(output_dir=str(tmp_path), bf16=False, **fields)


@pytest.mark.parametrize(
    "name, fields, message",
    [
        ("SAPOConfig", {}, "on-policy.*plain policy gradient"),
        ("SAPOConfig", {**REUSED, "sapo_temperature_neg": 0.5}, "sapo_temperature_neg.*below"),
        ("MHPOConfig", {}, "on-policy.*0.265"),
        ("COPOConfig", {"answer_extractor": "boxed", "rho": 3.0}, "rho.*3.00 bits"),
        ("COPOConfig", {"answer_extractor": "boxed"}, "one prompt"),
        ("APOAsymmetricConfig", {"beta": 0.0}, "beta.*no effect"),
    ],
)
def test_what_runs_but_not_as_meant_is_a_warning(tmp_path, name, fields, message):
    config = getattr(alignkit, name)(output_dir=str(tmp_path), bf16=False, **fields)
    assert any(re.search(message, sentence) for sentence in config.warnings())


@pytest.mark.parametrize("fields", [REUSED, {"steps_per_generation": 4, "gradient_accumulation_steps": 2}])
def test_reused_completions_are_no_reason_to_warn(tmp_path, fields):
    for name in ("SAPOConfig", "MHPOConfig"):
        assert getattr(alignkit, name)(output_dir=str(tmp_path), bf16=False, **fields).warnings() == []


def test_several_rewards_without_a_named_one_are_refused_before_training(bundled_model_dir, tmp_path):
    from online_worker import format_reward, reward

    with pytest.raises(InputError, match=r"correct_reward.*reward, format_reward"):
        run(task(bundled_model_dir, "apo_asymmetric", tmp_path), reward_funcs=[reward, format_reward])
