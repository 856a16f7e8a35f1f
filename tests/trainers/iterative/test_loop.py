"""The loop end to end: resume, references, and where it must equal something else."""

import math
import shutil

import pytest
import torch
from loop_runs import (
    LORA,
    CountingJudge,
    Killed,
    assert_equal_weights,
    assert_same_run,
    base_settings,
    history,
    read_rows,
    runner,
)

from alignkit.errors import InputError
from alignkit.judges import LengthJudge
from alignkit.trainers.iterative.runner import OUTPUTS, LoopRunner
from alignkit.trainers.iterative.state import Best


DPO = {"beta": 0.5}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, prompts_file):
    """An uninterrupted run of iterative DPO: its folder, its fields and what its judge was asked."""
    folder, asked = tmp_path_factory.mktemp("whole") / "run", []
    fields = {**base_settings(prompts_file), **DPO, "output_dir": str(folder), "keep_checkpoints": True}
    runner("dpo", fields, CountingJudge(asked)).run()
    return folder, fields, asked


def test_killed_around_every_write_of_the_state_and_resumed_equals_uninterrupted(whole, tmp_path, monkeypatch):
    """Every process dies: once when a stage's output is there and the state not yet written, once right after."""
    folder, fields, asked = whole
    cut, asked_again = tmp_path / "cut", []
    save, attempts = LoopRunner.save, []

    def dies(self):
        attempts.append(len(self.context.state.stage_done))
        if len(attempts) % 2 == 0:
            save(self)
        raise Killed

    monkeypatch.setattr(LoopRunner, "save", dies)
    for _ in range(100):
        try:
            runner("dpo", {**fields, "output_dir": str(cut)}, CountingJudge(asked_again)).run()
            break
        except Killed:
            continue
    # The first policy, and for each iteration its stages and its end.
    assert len(attempts) == 2 * (1 + 2 * (len(OUTPUTS) + 1))
    assert_same_run(folder, cut)
    assert history(folder) == history(cut)
    assert sorted(asked_again) == sorted(asked)


def test_killed_within_a_stage_and_resumed_equals_uninterrupted(whole, tmp_path, monkeypatch):
    """Dies after some responses, after some judgements, and in the middle of training behind a checkpoint."""
    from transformers import TrainerCallback

    from alignkit.trainers.iterative.stages import generate
    from alignkit.trainers.preference.dpo import DPOTrainer

    folder, fields, asked = whole
    cut, asked_again = {**fields, "output_dir": str(tmp_path / "cut")}, []

    class DiesInLog(generate.RecordLog):
        def append(self, *records):
            super().append(*records)
            if "iter_0" in str(self.path):
                raise Killed

    class DiesInStep(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            if state.global_step == 1:
                raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("alignkit.trainers.iterative.stages.generate.RecordLog", DiesInLog)
        with pytest.raises(Killed):
            runner("dpo", cut, CountingJudge(asked_again)).run()
    with monkeypatch.context() as patch:
        patch.setattr("alignkit.trainers.iterative.stages.judge.RecordLog", DiesInLog)
        with pytest.raises(Killed):
            runner("dpo", cut, CountingJudge(asked_again)).run()
    assert len(read_rows(tmp_path / "cut" / "iter_0" / "judgements.partial.jsonl")) == fields["judge_batch_size"]
    with monkeypatch.context() as patch:
        build = DPOTrainer.__init__
        patch.setattr(DPOTrainer, "__init__", lambda self, **kwargs: build(self, **kwargs, callbacks=[DiesInStep()]))
        with pytest.raises(Killed):
            runner("dpo", cut, CountingJudge(asked_again)).run()
    assert (tmp_path / "cut" / "iter_0" / "training" / "checkpoint-1").is_dir()
    runner("dpo", cut, CountingJudge(asked_again)).run()
    assert_same_run(folder, tmp_path / "cut")
    assert sorted(asked_again) == sorted(asked)


def test_the_first_loss_of_every_iteration_is_log_two(whole):
    """The stale-reference trap: with the first policy as reference it would be log 2 in the first iteration only."""
    losses = [entry["train/first_loss"] for entry in history(whole[0])[1:]]
    assert losses == pytest.approx([math.log(2)] * 2, abs=1e-6)


def test_the_references_of_the_first_policy_would_be_others(whole, tmp_path):
    """What the trap gives: on the pairs of iteration 2 it differs from the references that the loop used."""
    folder, fields, _ = whole
    shutil.copytree(folder, tmp_path / "run", symlinks=True)
    stale = runner("dpo", {**fields, "output_dir": str(tmp_path / "run")})
    stale.context.state.iteration = 1
    stale.context.rule.reference_paths = lambda state: {"ref": state.reference}
    used = read_rows(tmp_path / "run" / "iter_1" / "dataset.jsonl")
    stale.stages()["reference"]()
    others = read_rows(tmp_path / "run" / "iter_1" / "dataset.jsonl")
    assert max(abs(a["ref_chosen_logps"] - b["ref_chosen_logps"]) for a, b in zip(used, others, strict=True)) > 1e-3


def test_one_iteration_equals_the_dpo_trainer_on_the_same_pairs(whole, bundled_model_dir, tmp_path):
    from datasets import Dataset

    from alignkit import DPOConfig, DPOTrainer

    folder, fields, _ = whole
    names = ("per_device_train_batch_size", "learning_rate", "num_train_epochs", "max_length", "beta")
    config = DPOConfig(
        output_dir=str(tmp_path),
        **{name: fields[name] for name in names},
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    pairs = Dataset.from_list(read_rows(folder / "iter_0" / "pairs.jsonl"))
    trainer = DPOTrainer(bundled_model_dir, args=config, train_dataset=pairs)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    assert_equal_weights(folder / "iter_0" / "trained", tmp_path / "model", tolerance=1e-6)


def test_momentum_zero_equals_iterative_dpo(whole, tmp_path):
    folder, fields, _ = whole
    runner("apo_accelerated", {**fields, "alpha": 0.0, "output_dir": str(tmp_path / "run")}).run()
    assert_same_run(folder, tmp_path / "run")


def test_a_finished_run_is_not_run_again(whole):
    folder, fields, _ = whole
    before = (folder / "state.json").read_bytes()
    asked = []
    assert runner("dpo", fields, CountingJudge(asked)).run() == str(folder / "iter_1" / "policy")
    assert (folder / "state.json").read_bytes() == before and not asked


@pytest.mark.parametrize(
    "change, named",
    [
        ({"beta": 0.7}, "beta"),
        ({"learning_rate": 2e-3, "temperature": 0.9}, "learning_rate.*temperature"),
        ({"num_iterations": 3}, "num_iterations"),
        ({"num_prompts": 9}, "num_prompts"),
    ],
)
def test_a_changed_setting_is_refused_with_its_name(whole, change, named):
    _folder, fields, _ = whole
    with pytest.raises(InputError, match=named):
        runner("dpo", {**fields, **change})


def test_a_changed_judge_or_prompt_file_is_refused(whole, prompts_file, tmp_path):
    _folder, fields, _ = whole
    with pytest.raises(InputError, match=r"judge \(content\)"):
        runner("dpo", fields, LengthJudge(target=5))
    rows = open(prompts_file).read().replace("keys", "cups")
    (tmp_path / "other.jsonl").write_text(rows)
    with pytest.raises(InputError, match=r"prompts \(content\)"):
        runner("dpo", {**fields, "dataset_name": str(tmp_path / "other.jsonl")})


def test_where_and_how_often_a_run_saves_may_change(whole):
    _folder, fields, _ = whole
    runner("dpo", {**fields, "save_steps": 5, "logging_steps": 2})


def test_shares_are_disjoint_and_cover_the_prompts(whole):
    import json

    folder, _fields, _ = whole
    order = json.loads((folder / "prompt_order.json").read_text())
    shares = [[row["prompt_id"] for row in read_rows(folder / f"iter_{t}" / "prompts.jsonl")] for t in range(2)]
    assert sorted(shares[0] + shares[1]) == sorted(order["train"]) and not set(order["train"]) & set(order["eval"])


def test_responses_do_not_depend_on_the_batch(whole, tmp_path):
    folder, fields, _ = whole
    other = runner("dpo", {**fields, "generation_batch_size": 5, "output_dir": str(tmp_path / "run")})
    other.context.iteration_dir.mkdir()
    for name in ("prompts", "generate"):
        other.stages()[name]()
    assert read_rows(tmp_path / "run/iter_0/responses.jsonl") == read_rows(folder / "iter_0/responses.jsonl")


def test_old_models_are_deleted_and_those_still_needed_kept(settings):
    loop = runner("dpo", settings)
    state = loop.context.state
    for t in range(4):
        for name in ("trained", "policy"):
            (loop.folder / f"iter_{t}" / name).mkdir(parents=True)
    # Extrapolated policies are folders of their own; the best one, of iteration 1, is kept beside the last ones.
    state.iteration, state.policy, state.trained, state.previous_trained = (
        4,
        "iter_3/policy",
        "iter_3/trained",
        "iter_2/trained",
    )
    state.best = Best(2, "iter_1/policy", 0.9)
    loop.remove_old_models()
    left = {str(path.relative_to(loop.folder)) for path in loop.folder.glob("iter_*/*")}
    assert left == {"iter_3/policy", "iter_3/trained", "iter_2/trained", "iter_1/policy"}


def test_a_run_tells_its_metrics_in_a_file_and_a_picture(whole):
    folder, _, _ = whole
    entries = history(folder)
    assert [entry["iteration"] for entry in entries] == [0, 1, 2]
    for entry in entries:
        assert 0 <= entry["win_rate_vs_first"] <= 1 and entry["length"] > 0 and math.isfinite(entry["kl_to_first"])
    for name in ("baseline", "iter_0", "iter_1"):
        assert (folder / name / "metrics.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "final").resolve() == (folder / "iter_1" / "trained").resolve()


def test_inpo_first_iteration_has_one_reference_and_later_two_adapters_on_one_base(settings, monkeypatch):
    """With LoRA no second full model is ever loaded beside the policy."""
    settings.update(LORA, num_generations=4, eta=0.1, learning_rate=5e-3)
    monkeypatch.setattr("alignkit.trainers.preference.frozen.load_frozen_model", None)
    loop = runner("inpo", settings)
    loop.run()
    rows = [read_rows(loop.folder / f"iter_{t}" / "dataset.jsonl") for t in range(2)]
    assert all(
        row[f"ref_{side}_logps"] == row[f"last_{side}_logps"] for row in rows[0] for side in ("chosen", "rejected")
    )
    assert any(abs(row["ref_chosen_logps"] - row["last_chosen_logps"]) > 1e-3 for row in rows[1])
    # At the start of the first iteration h = 0, so the loss is the square of 1 / (2 eta).
    assert history(loop.folder)[1]["train/first_loss"] == pytest.approx(25, rel=1e-5)


def test_dno_replays_pairs_under_the_references_of_the_current_policy(settings):
    settings.update(
        eta=0.5, gold_column="solution", min_positive=-1000, margin=1, student_margin=1, temperature=1.0, top_p=1.0
    )
    loop = runner("dno", settings)
    loop.run()
    first, second = (read_rows(loop.folder / f"iter_{t}" / "pairs.jsonl") for t in range(2))
    replayed = [row for row in second if row["iteration"] == 0]
    assert len(replayed) == math.floor(0.3 * len(first)) > 0
    assert all(row in first for row in replayed)
    known = {
        (str(row["chosen"]), str(row["rejected"])): row for row in read_rows(loop.folder / "iter_0/dataset.jsonl")
    }
    again = [row for row in read_rows(loop.folder / "iter_1/dataset.jsonl") if row["iteration"] == 0]
    moved = [
        abs(row["ref_chosen_logps"] - known[str(row["chosen"]), str(row["rejected"])]["ref_chosen_logps"])
        for row in again
    ]
    assert max(moved) > 1e-3
    assert history(loop.folder)[2]["train/first_loss"] == pytest.approx(math.log(2), abs=1e-6)
    solutions = {str(row["solution"]) for row in loop.rows}
    assert any(row["chosen"][0]["content"] in solutions or row["rejected"][0]["content"] in solutions for row in first)


def test_momentum_starts_the_next_iteration_from_the_exact_extrapolation(settings):
    """LoRA: the merged update of the next policy is (1 + alpha) times the trained one's minus alpha times the last."""
    settings.update(LORA, **DPO, alpha=0.5, learning_rate=5e-3, keep_checkpoints=True)
    loop = runner("apo_accelerated", settings)
    assert loop.run() == str(loop.folder / "iter_1" / "trained")
    policies = [merged(loop.folder / f"iter_{t}" / "policy") for t in range(2)]
    trained = [merged(loop.folder / f"iter_{t}" / "trained") for t in range(2)]
    base = merged(None)
    for name, start in base.items():
        assert torch.allclose(policies[0][name], 1.5 * trained[0][name] - 0.5 * start, atol=1e-6), name
        assert torch.allclose(policies[1][name], 1.5 * trained[1][name] - 0.5 * trained[0][name], atol=1e-6), name
    assert max((trained[1][name] - trained[0][name]).abs().max() for name in base) > 1e-4
    # The extrapolated weights are the reference, so the loss begins at log 2 here too.
    losses = [entry["train/first_loss"] for entry in history(loop.folder)[1:]]
    assert losses == pytest.approx([math.log(2)] * 2, abs=1e-6)


def merged(adapter) -> dict[str, torch.Tensor]:
    """The float32 weights of the bundled model with an adapter merged into it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from alignkit.data.bundled import resolve_model

    model = AutoModelForCausalLM.from_pretrained(resolve_model("bundled/tiny-math"), dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return {
        name: value.detach().clone()
        for name, value in model.state_dict().items()
        if "layers" in name and value.dim() == 2
    }


@pytest.mark.slow
def test_two_processes_train_what_one_trains_on_twice_the_batch_and_resume_exactly(settings, tmp_path, monkeypatch):
    """Two processes of 2 pairs each are one update of 4 pairs, up to the order in which floats are added."""
    fields = {**settings, **DPO, "num_prompts": 16, "report_to": "none"}
    one = runner("dpo", {**fields, "per_device_train_batch_size": 4, "output_dir": str(tmp_path / "one")})
    one.run()
    two = {**fields, "num_processes": 2, "output_dir": str(tmp_path / "two")}
    runner("dpo", two).run()
    losses = [[entry["train/first_loss"] for entry in history(tmp_path / name)[1:]] for name in ("one", "two")]
    assert losses[1] == pytest.approx([math.log(2)] * 2, abs=1e-6) and losses[0] == pytest.approx(losses[1], abs=1e-6)
    steps = [[entry["train/steps"] for entry in history(tmp_path / name)[1:]] for name in ("one", "two")]
    assert steps[0] == steps[1]
    # Killed with its training processes in the second iteration, and resumed.
    cut, saved = {**two, "output_dir": str(tmp_path / "cut")}, LoopRunner.save

    def dies(self):
        saved(self)
        if self.context.state.iteration == 1 and "reference" in self.context.state.stage_done:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(LoopRunner, "save", dies)
        with pytest.raises(Killed):
            runner("dpo", cut).run()
    runner("dpo", cut).run()
    assert_same_run(tmp_path / "two", tmp_path / "cut")
    with pytest.raises(InputError, match="num_processes"):
        runner("dpo", {**cut, "num_processes": 3})
