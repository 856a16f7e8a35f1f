"""CGPO on the bundled model: its three optimizers, tasks with judges of their own, baselines, exact resume, refusals."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from launched_runs import assert_equal_weights
from model_weights import largest_difference
from online_worker import SETTINGS
from peft import LoraConfig

from alignkit import CGPOConfig, CGPOTrainer
from alignkit.catalog import get
from alignkit.data import load
from alignkit.errors import InputError
from alignkit.objectives.preference import cgpo_codpo_loss
from alignkit.objectives.sampling import cgpo_codpo_pairs


NO_STEPS = {"name": "pattern", "as": "no_steps", "pattern": "=", "forbidden": True}
CONSTRAINTS = ["boxed_once", NO_STEPS]
TASKS = {
    "worked": {"constraints": ["boxed_once"], "optimizer": "crpg"},
    "terse": {"constraints": ["boxed_once", NO_STEPS], "optimizer": "crraft"},
}


def reward(completions, answer, **columns):
    """Right answers, and length to break the ties; all negative."""
    texts = [item[0]["content"] for item in completions]
    return [float(f"{{{gold}}}" in text) + 0.01 * len(text) - 5 for text, gold in zip(texts, answer, strict=True)]


def build(model, folder, rows=16, reward_funcs=(reward,), dataset=None, constraints=None, full=False, **config):
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
    settings = {**SETTINGS, "max_steps": 2, "self_checks": False, "output_dir": str(folder)}
    if config.get("optimizer") != "codpo":
        settings["kl_max"] = 20.0
    return CGPOTrainer(
        model,
        reward_funcs=list(reward_funcs) if reward_funcs else None,
        args=CGPOConfig(**{**settings, **config}),
        train_dataset=load("bundled/math_tasks", split=f"train[:{rows}]") if dataset is None else dataset,
        peft_config=None if full else lora,
        constraints=constraints,
    )


def run(*args, resume=False, **config):
    trainer = build(*args, **config)
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    return trainer


def logs(trainer):
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def test_tasks_with_rewards_judges_and_optimizers_of_their_own(bundled_model_dir, tmp_path):
    tasks = {
        "worked": {**TASKS["worked"], "reward_funcs": ["exact_answer"]},
        "terse": {**TASKS["terse"], "reward_funcs": [{"name": "brevity", "max_completion_length": 32}]},
    }
    trainer = run(bundled_model_dir, tmp_path, reward_funcs=None, tasks=tasks, self_checks=True)
    entries = logs(trainer)
    logged = set().union(*entries)
    assert all(math.isfinite(entry["loss"] + entry["grad_norm"]) for entry in entries)
    patterns = {name.replace("TASK", task) for name in get("cgpo").metrics for task in tasks}
    named = {name.replace("NAME", "boxed_once") for name in patterns} - {"cgpo/worked/from_baseline"}
    assert named <= logged
    assert "cgpo/terse/violated/no_steps" in logged and "cgpo/worked/violated/no_steps" not in logged
    # Each task's function saw the rows of that task alone.
    assert trainer.reward_func_names == ["exact_answer", "brevity", "boxed_once", "no_steps"]
    tables = [torch.tensor(list(trainer._logs["rewards"][name])) for name in ("exact_answer", "brevity")]
    assert (tables[0].isnan() ^ tables[1].isnan()).all()
    assert all(finding.ok for finding in trainer.findings if finding.name in ("sampler", "reference"))


@pytest.mark.parametrize("optimizer", ["crpg", "codpo", "crraft"])
def test_one_task_equals_the_run_without_tasks(bundled_model_dir, tmp_path, optimizer):
    dataset = load("bundled/math_tasks", split="train[:16]")
    only = dataset.remove_columns("task").add_column("task", ["only"] * 16)
    plain = run(bundled_model_dir, tmp_path / "a", dataset=dataset, optimizer=optimizer, constraints=CONSTRAINTS)
    tasks = {"only": {"weight": 1.0, "constraints": CONSTRAINTS}}
    one = run(bundled_model_dir, tmp_path / "b", dataset=only, optimizer=optimizer, tasks=tasks)
    assert largest_difference(plain.model, one.model) == 0.0
    assert logs(plain)[-1]["grad_norm"] > 0


def test_the_gradient_is_that_of_codpo_on_the_whole_batch_though_it_is_split(bundled_model_dir, tmp_path):
    """Pairs are torn apart by shuffling and accumulation, and the gradient does not change."""
    config = {"optimizer": "codpo", "constraints": [NO_STEPS], "gradient_accumulation_steps": 4}
    trainer = build(bundled_model_dir, tmp_path, per_device_train_batch_size=4, temperature=1.0, **config)
    trainer.create_optimizer_and_scheduler(2)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 4
    caught = {}
    place = trainer._place

    def catch(advantages, output):
        caught.update({name: output[name].clone() for name in ("prompt_ids", "completion_ids", "completion_mask")})
        caught["prompt_mask"] = output["prompt_mask"].clone()
        place(advantages, output)

    trainer._place = catch
    rows = [row for row in trainer.train_dataset.select(range(4)) for _ in range(4)]
    for step in range(4):
        trainer._step = step
        trainer._compute_loss(trainer.model, trainer._prepare_inputs(rows)).backward()
    split = [item.grad.clone() for item in trainer.model.parameters() if item.requires_grad]
    trainer.model.zero_grad()

    def sequence_logps(enabled):
        trainer.model.set_adapter("default")
        ids = torch.cat([caught["prompt_ids"], caught["completion_ids"]], 1)
        mask = torch.cat([caught["prompt_mask"], caught["completion_mask"]], 1)
        length = caught["completion_ids"].shape[1]
        with torch.set_grad_enabled(enabled):
            logps = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, length)[0]
        return (logps * caught["completion_mask"]).sum(1)

    policy = sequence_logps(True)
    names, table = trainer.reward_func_names, trainer.rollout_rewards
    pairs = cgpo_codpo_pairs(table[:, names.index("reward")], table[:, names.index("no_steps")], 4)
    good, bad = pairs.chosen[pairs.valid], pairs.rejected[pairs.valid]
    assert len(good) > 1
    reference = policy.detach()  # the adapter is new
    lengths = caught["completion_mask"].sum(1)
    cgpo_codpo_loss(policy[good], policy[bad], reference[good], reference[bad], lengths[good]).mean().backward()
    whole = [item.grad for item in trainer.model.parameters() if item.requires_grad]
    assert max((a - b).abs().max().item() for a, b in zip(split, whole, strict=True)) < 1e-5
    assert max(item.abs().max().item() for item in whole) > 1e-3


@pytest.mark.parametrize(
    "verdict, unknown, optimizers", [(False, 0.0, ("codpo", "crraft")), (math.nan, 1.0, ("crpg",))]
)
def test_where_nothing_is_satisfied_or_known_no_weight_moves(
    bundled_model_dir, tmp_path, verdict, unknown, optimizers
):
    def judge(completions, **columns):
        return [verdict] * len(completions)

    untrained = build(bundled_model_dir, tmp_path / "a", constraints=[judge]).model
    for optimizer in optimizers:
        trainer = run(bundled_model_dir, tmp_path / "b", max_steps=1, optimizer=optimizer, constraints=[judge])
        assert largest_difference(trainer.model, untrained) == 0.0
        entry = logs(trainer)[0]
        assert entry["cgpo/default/unknown"] == entry["cgpo/default/unknown/judge"] == unknown
        assert entry["cgpo/default/violated"] == 1 - unknown


def test_without_an_eligible_completion_crraft_trains_on_the_baseline_answer(bundled_model_dir, tmp_path):
    """The judge is satisfied by the baseline answers alone, which are longer than what is sampled."""
    answer = "The number that was asked for: 7."
    dataset = load("bundled/math_tasks", split="train[:8]").map(lambda row: {"baseline_completion": answer})
    judge = {"name": "pattern", "pattern": "asked for"}
    config = {"dataset": dataset, "constraints": [judge], "max_steps": 3, "max_completion_length": 40}
    trainer = run(bundled_model_dir, tmp_path, learning_rate=1e-2, logging_steps=1, **config)
    assert logs(trainer)[0]["cgpo/default/from_baseline"] == 1 == logs(trainer)[0]["cgpo/default/trained"]
    inputs = trainer._buffered_inputs[0]
    row = inputs["from_baseline"].nonzero()[0, 0]
    ids = inputs["completion_ids"][row][inputs["completion_mask"][row].bool()]
    assert trainer.processing_class.decode(ids) == f"{answer}<|im_end|>"
    losses = [entry["loss"] for entry in logs(trainer)]
    assert losses[-1] < losses[0]
    skipped = run(bundled_model_dir, tmp_path, fallback="skip", **{**config, "max_steps": 1})
    assert logs(skipped)[0]["cgpo/default/trained"] == 0


@pytest.mark.parametrize("optimizer", ["crpg", "crraft"])
def test_one_completion_per_prompt_trains(bundled_model_dir, tmp_path, optimizer):
    config = {"num_generations": 1, "optimizer": optimizer, "constraints": ["boxed_once"], "max_steps": 1}
    entry = logs(run(bundled_model_dir, tmp_path, **config))[0]
    assert entry["grad_norm"] > 0 and entry["cgpo/default/trained"] == 1


def test_a_baseline_is_scored_once_and_evaluation_changes_nothing(bundled_model_dir, tmp_path):
    calls = []

    def counted(completions, **columns):
        calls.append(len(completions))
        return [float(len(item[0]["content"])) for item in completions]

    trainer = build(
        bundled_model_dir, tmp_path, rows=2, reward_funcs=[counted], max_steps=3, constraints=["boxed_once"]
    )
    trainer.train()
    assert calls == [8, 2, 8, 8]
    known = dict(trainer.parts["advantage"].baselines)
    trainer.evaluate(load("bundled/math_tasks", split="train[4:12]"))
    assert trainer.parts["advantage"].baselines == known and len(known) == 2
    assert "eval_cgpo/default/violated" in trainer.state.log_history[-1]


@pytest.mark.parametrize("full", [False, True])
def test_rows_without_a_baseline_answer_get_one_of_the_initial_policy_whenever_they_are_reached(
    bundled_model_dir, tmp_path, full
):
    """The policy that is trained has left the one that it began as, and rows of codpo are not answered."""
    dataset = load("bundled/math_tasks", split="train[:8]").remove_columns("baseline_completion")
    tasks = {"worked": {"optimizer": "crraft"}, "terse": {"optimizer": "codpo"}}
    config = {"dataset": dataset, "tasks": tasks, "full": full, "baseline_source": "initial_policy"}
    config |= {"per_device_train_batch_size": 4, "num_generations": 2, "max_completion_length": 24}
    trained = build(bundled_model_dir, tmp_path, learning_rate=0.05, max_steps=4, **config)
    trained.train()
    answers = trained.parts["advantage"].answers
    assert len(answers) == 4 and all(answers.values())
    assert logs(trained)[-1]["cgpo/worked/log_ratio"] != pytest.approx(0.0, abs=0.5)
    assert {entry.get("cgpo/worked/no_baseline") for entry in logs(trained)} <= {0, None}
    fresh = build(bundled_model_dir, tmp_path, **config)
    fresh._rows = list(dataset)[::-1]
    fresh.model.train()
    fresh.sample_baselines()
    assert fresh.parts["advantage"].answers == answers
    assert {trained.baseline_text(row) for row in dataset if row["task"] == "worked"} == set(answers.values())
    with torch.no_grad():
        for item in fresh.model.parameters():
            item.add_(0.3 * item.requires_grad)
    fresh._rows, fresh.parts["advantage"].answers = list(dataset)[:3], {}
    fresh.model.eval()
    fresh.sample_baselines()
    assert fresh.parts["advantage"].answers == {} and len(fresh._answered_in_evaluation) == 2
    assert fresh._answered_in_evaluation.items() <= answers.items()


def test_stopped_and_resumed_equals_uninterrupted_and_keeps_what_was_sampled_and_scored(bundled_model_dir, tmp_path):
    config = {"max_steps": 4, "tasks": TASKS, "save_strategy": "steps", "save_steps": 2}
    answered = load("bundled/math_tasks", split="train[:4]")
    mixed = [None, None, *answered["baseline_completion"][2:]]
    config["dataset"] = answered.remove_columns("baseline_completion").add_column("baseline_completion", mixed)
    config["baseline_source"] = "initial_policy"
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(bundled_model_dir, whole, **config)
    cut.mkdir()
    shutil.copytree(whole / "checkpoint-2", cut / "checkpoint-2")
    state = json.loads((cut / "checkpoint-2" / "online_state.json").read_text())
    assert len(state["state"]["advantage"]["baselines"]) == 4
    assert len(state["state"]["advantage"]["answers"]) == 2
    run(bundled_model_dir, cut, resume=True, **config)
    assert_equal_weights(whole, cut)


@pytest.mark.parametrize(
    "config, message",
    [
        ({"kl_max": None}, "`kl_max` is missing, and crraft needs it"),
        ({"kl_max": 0.0}, "`kl_max` is 0.0"),
        ({"optimizer": "ppo"}, "`optimizer` is 'ppo'"),
        ({"tasks": {}}, "`tasks` is {}"),
        ({"tasks": {"a": {"optimiser": "crpg"}}}, "`tasks`, a has the key 'optimiser'.*did you mean optimizer"),
        (
            {"tasks": {"a": {"codpo_lam": 1.0}}},
            "a sets `codpo_lam`, which belongs to codpo, but its optimizer is 'crraft'",
        ),
        ({"tasks": {"a": {"weight": -1}}}, "`tasks`, a: `weight` is -1"),
        ({"tasks": {"a": 3}}, "`tasks`, a is 3"),
        ({"codpo_lam": 1.0}, "`codpo_lam` is 1.0, but it belongs to codpo"),
        ({"num_generations": 0}, "`num_generations` is 0"),
        (
            {"num_generations": 1, "optimizer": "codpo", "kl_max": None},
            "`num_generations` is 1, but task default uses codpo",
        ),
        ({"baseline_source": "reference"}, "`baseline_source` is 'reference'"),
        (
            {"baseline_source": "initial_policy", "optimizer": "codpo", "kl_max": None},
            "codpo, which all tasks use, has no baseline answer",
        ),
        ({"baseline_source": "initial_policy", "sync_ref_model": True}, "`sync_ref_model` moves the reference"),
        ({"beta": 0.1}, "`beta` is 0.1"),
        ({"num_iterations": 2}, "`num_iterations` is 2"),
        ({"steps_per_generation": 2}, "`steps_per_generation` is 2"),
        ({"epsilon": 0.3}, "`epsilon` is 0.3"),
        ({"mask_truncated_completions": True}, "`mask_truncated_completions` is True"),
        ({"reward_shaping": "none"}, "`reward_shaping` is 'none'"),
        ({"scale_rewards": "batch"}, "`scale_rewards` is 'batch'"),
    ],
)
def test_the_configuration_refuses_what_has_no_meaning(tmp_path, config, message):
    with pytest.raises(ValueError, match=message):
        CGPOConfig(**{"output_dir": str(tmp_path), "kl_max": 5.0, "report_to": "none", **config})


def test_the_trainer_refuses_data_that_its_tasks_do_not_fit(bundled_model_dir, tmp_path):
    dataset = load("bundled/math_tasks", split="train[:8]")
    for changes, message in (
        ({"dataset": dataset.remove_columns("task"), "tasks": TASKS}, "the column `task` is missing"),
        ({"dataset": dataset.remove_columns("baseline_completion")}, "the column `baseline_completion` is missing"),
        ({"tasks": {"worked": {}, "chat": {}}}, "row 1 .counted from 0.: a row has `task` 'terse'"),
        ({"reward_funcs": None}, "`reward_funcs` is missing"),
        ({"constraints": ["boxed_onec"]}, "did you mean boxed_once"),
        ({"tasks": TASKS, "reward_weights": [1.0]}, "write `weight` into the entries"),
    ):
        with pytest.raises(InputError, match=message):
            build(bundled_model_dir, tmp_path, **changes)
    codpo = build(
        bundled_model_dir, tmp_path, dataset=dataset.remove_columns("baseline_completion"), optimizer="codpo"
    )
    assert "no constraint binds default" in codpo.args.warnings()[-1]


def test_the_pre_flight_knows_tasks_constraints_and_missing_columns(tmp_path, capsys, monkeypatch):
    from alignkit.cli import main

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    recipe = str(Path(__file__).parents[3] / "configs" / "online" / "cgpo.yaml")
    assert main(["check", "cgpo", "--config", recipe, "--output_dir", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "has_steps" in output and "no_steps" in output and "exact_answer" in output
    assert main(["check", "cgpo", "--config", recipe, "--dataset_name", "bundled/math"]) == 2
    assert "the column `task` is missing" in "".join(capsys.readouterr())
