"""PARL on the bundled model: routes, sampled pairs and their labels, the limit that is DPO, resume, refusals."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alignkit import DPOConfig, DPOTrainer, PARLConfig, PARLTrainer
from alignkit.cli import main
from alignkit.config import load_run, recipe_path
from alignkit.errors import InputError
from alignkit.judges import LengthJudge
from alignkit.objectives.preference.parl import DDP, DPO, DPP, DPR
from alignkit.trainers.preference.base import PreferenceBatch
from alignkit.trainers.preference.parl_pairs import PairBuffer, SampledPair, Waiting


SAMPLING = {"max_completion_length": 24, "prompts_per_generation": 2, "temperature": 1.0}


@pytest.fixture
def build(bundled_model_dir, pairs, settings, lora):
    """A PARL trainer with these fields, on 16 pairs, judged by length unless told otherwise."""

    def make(judge=None, rows=None, **fields):
        fields = {**settings, **SAMPLING, **fields}
        if fields.get("dpr_mixture") and judge is None:
            fields.setdefault("judge", "length")
        elif judge is not None:
            fields["judge"] = "given"
        data = pairs.select(range(16)) if rows is None else rows
        return PARLTrainer(
            bundled_model_dir, args=PARLConfig(**fields), train_dataset=data, peft_config=lora, judge=judge
        )

    return make


def losses(trainer) -> list[float]:
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


def adapter(trainer) -> dict[str, torch.Tensor]:
    return {name: item.detach().clone() for name, item in trainer.model.named_parameters() if item.requires_grad}


def distance(left: dict, right: dict) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def examples(trainer, count: int) -> list[dict]:
    return [dict(trainer.train_dataset[row]) for row in range(count)]


def test_without_shares_it_is_dpo_to_the_last_bit(build, bundled_model_dir, pairs, settings, lora):
    settings.update(max_steps=2)
    ours = build(ddp_mixture=0.0)
    theirs = DPOTrainer(
        bundled_model_dir, args=DPOConfig(**settings), train_dataset=pairs.select(range(16)), peft_config=lora
    )
    ours.train()
    theirs.train()
    assert losses(ours) == losses(theirs) and distance(adapter(ours), adapter(theirs)) == 0.0


def test_all_routes_train_and_have_their_numbers(build):
    trainer = build(ddp_mixture=0.3, dpp_mixture=0.35, dpr_mixture=0.35, per_device_train_batch_size=8, max_steps=2)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert all(math.isfinite(log["loss"]) for log in logs)
    for log in logs:
        assert sum(log[f"parl/{name}"] for name in ("dpo", "ddp", "dpp", "dpr")) == pytest.approx(1.0)
        assert log["parl/score_weight"] >= 0 and log["parl/reversed"] == 0
    assert max(log["parl/dpp"] for log in logs) > 0 and max(log["parl/dpr"] for log in logs) > 0
    assert any(-90 < log["parl/judge_score"] < 0 for log in logs if "parl/judge_score" in log)
    # S = log(1/2) for every pair at first: the loss is log 2 less half of coef S^2 of the two routes with such a term.
    first = logs[0]
    quadratic = 0.5 * 0.2 * math.log(2) ** 2 * (first["parl/ddp"] + first["parl/dpp"])
    assert first["loss"] == pytest.approx(math.log(2) - quadratic, abs=1e-5)


def test_value_of_judged_pairs_does_not_depend_on_the_score_term_and_the_weights_do(build):
    runs = []
    for coef in (0.0, 0.5):
        runs.append(build(ddp_mixture=0.0, dpr_mixture=1.0, dpr_coef=coef, max_steps=1, per_device_train_batch_size=8))
        runs[-1].train()
    assert losses(runs[0]) == losses(runs[1]) and distance(adapter(runs[0]), adapter(runs[1])) > 1e-6


def test_pair_that_finds_none_ready_keeps_its_data_and_takes_route_zero_but_its_prompt_waits(build):
    trainer = build(ddp_mixture=0.0, dpp_mixture=1.0, prompts_per_generation=100)
    rows = examples(trainer, 3)
    before = [dict(row) for row in rows]
    assert trainer.place_pairs(rows, [DPP, DDP, DPP]) == [DPO, DDP, DPO]
    assert rows == before
    assert [item.prompt_ids for item in trainer.buffer.waiting] == [rows[0]["prompt_ids"], rows[2]["prompt_ids"]]


def test_sampled_pair_answers_the_prompt_of_the_data_set_twice(build):
    trainer = build(ddp_mixture=0.0, dpp_mixture=1.0, generation_reuse=2)
    rows = examples(trainer, 2)
    prompts = [row["prompt_ids"] for row in rows]
    assert trainer.place_pairs(rows, [DPP, DPP]) == [DPP, DPP]
    # Used twice: both places hold the pair of the first prompt, the second one is still ready.
    assert [row["prompt_ids"] for row in rows] == [prompts[0], prompts[0]]
    assert [pair.prompt_ids for pair in trainer.buffer.ready[DPP]] == [prompts[1]]
    assert all(0 < len(ids) <= 24 for row in rows for ids in (row["chosen_ids"], row["rejected_ids"]))
    trainer.buffer.waiting = [Waiting(DPP, prompts[0])] * 8
    trainer.args.prompts_per_generation = 8
    trainer.generate_pairs()
    sampled = [tuple(ids) for pair in trainer.buffer.ready[DPP][1:] for ids in (pair.chosen_ids, pair.rejected_ids)]
    assert len(sampled) == 16 and len(set(sampled)) > 1  # each response has a seed of its own


def test_prompt_without_room_for_a_response_does_not_wait(build):
    trainer = build(ddp_mixture=0.0, dpp_mixture=1.0, max_length=60, max_completion_length=50)
    rows = examples(trainer, 2)
    assert all(len(row["prompt_ids"]) > 10 for row in rows)
    assert trainer.place_pairs(rows, [DPP, DPP]) == [DPO, DPO] and trainer.buffer.waiting == []


def test_the_judge_labels_and_ties_and_failures_are_left_out_and_counted(build):
    class FailsOnEmpty(LengthJudge):
        def score(self, response: str) -> float:
            return super().score(response) if response else float("nan")

    trainer = build(judge=FailsOnEmpty(), ddp_mixture=0.0, dpr_mixture=1.0)
    drawn = [("long answer", "short"), ("short", "long answer"), ("same", "same"), ("", "x")]
    judged = [(SampledPair([1], [2], [3], 0, 1), "?", list(texts)) for texts in drawn]
    trainer.label_judged(judged)
    assert [(pair.chosen_ids, pair.rejected_ids) for pair in trainer.buffer.ready[DPR]] == [([3], [2]), ([2], [3])]
    noted = trainer._metrics["train"]
    assert noted["parl/ties"] == [0.25] and noted["parl/not_judged"] == [0.25]


def test_policy_at_its_reference_draws_both_labels_and_a_certain_one_never_swaps(build):
    trainer = build(ddp_mixture=0.0, dpp_mixture=1.0)
    rows = examples(trainer, 16)
    fields = ("prompt_ids", "chosen_ids", "rejected_ids")
    pairs = [SampledPair(*(row[name] for name in fields), 0, 1) for row in rows]
    trainer.label_own(pairs)
    swapped = sum(pair.chosen_ids == row["rejected_ids"] for pair, row in zip(pairs, rows, strict=True))
    assert 2 <= swapped <= 14

    def labelled(gap: float) -> list[float]:
        zero = torch.zeros(64)
        columns = {"parl_route": torch.full((64,), DDP), "parl_uniform": torch.linspace(0, 0.999, 64)}
        return trainer.labelled(PreferenceBatch(zero + gap, zero, zero, zero, columns)).policy_chosen_logps.tolist()

    assert labelled(1000.0) == [1000.0] * 64
    assert np.mean([value == 1.0 for value in labelled(1.0)]) == pytest.approx(1 / (1 + math.exp(-0.1)), abs=0.02)


def test_killed_within_the_buffer_and_resumed_equals_uninterrupted(build, tmp_path):
    fields = {"ddp_mixture": 0.2, "dpp_mixture": 0.4, "dpr_mixture": 0.4, "generation_reuse": 2}
    fields |= {"prompts_per_generation": 3, "max_completion_length": 12}
    fields |= {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}

    class Killed(BaseException):
        pass

    def killed(*args, **kwargs):
        raise Killed

    whole = build(**fields, output_dir=str(tmp_path / "whole"))
    whole.train()
    cut = build(**fields, output_dir=str(tmp_path / "cut"))
    step = cut.training_step
    cut.training_step = lambda *args, **kwargs: (killed if cut.state.global_step == 3 else step)(*args, **kwargs)
    with pytest.raises(Killed):
        cut.train()
    again = build(**fields, output_dir=str(tmp_path / "cut"))
    again.train(resume_from_checkpoint=True)
    assert losses(whole) == losses(again)
    last = [Path(tmp_path / name / "checkpoint-4") for name in ("whole", "cut")]
    left, right = (load_file(folder / "adapter_model.safetensors") for folder in last)
    assert distance(left, right) == 0.0
    assert (last[0] / "parl_pairs_0.json").read_text() == (last[1] / "parl_pairs_0.json").read_text()
    (last[1] / "parl_pairs_0.json").unlink()
    with pytest.raises(InputError, match="parl_pairs_0.json is missing"):
        PairBuffer().load(str(last[1] / "parl_pairs_0.json"))


def test_evaluation_is_dpo_on_the_data_set(build, pairs):
    trainer = build(ddp_mixture=0.5, dpp_mixture=0.5, max_steps=1)
    trainer.eval_dataset = trainer.train_dataset
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] == pytest.approx(math.log(2), abs=1e-5) and metrics["eval_parl/dpo"] == 1.0


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"ddp_mixture": 0.5, "dpp_mixture": 0.6}, "`ddp_mixture` \\+ `dpp_mixture` \\+ `dpr_mixture` is 1.1"),
        ({"dpp_mixture": -0.1}, "`dpp_mixture` is -0.1"),
        ({"beta": 0.0}, "`beta` is 0.0"),
        ({"dpr_coef": -1.0}, "`dpr_coef` is -1.0"),
        ({"score_baseline": "mean"}, "`score_baseline` is 'mean'"),
        ({"temperature": 0.0}, "`temperature` is 0.0"),
        ({"generation_reuse": 0}, "`generation_reuse` is 0"),
        ({"dpr_mixture": 0.3}, "`dpr_mixture` is 0.3, but `judge` is missing"),
        ({"judge": "length"}, "`judge` is 'length', but no pair takes route DPR"),
        ({"dpp_mixture": 0.3, "precompute_ref_log_probs": True}, "`precompute_ref_log_probs` cannot be set"),
        ({"dpp_mixture": 0.3, "max_completion_length": 1024}, "leaves no room for a prompt"),
        ({"loss_type": ["ipo"]}, "`loss_type` is \\['ipo'\\]"),
    ],
)
def test_bad_settings_are_refused_by_name(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        PARLConfig(str(tmp_path), use_cpu=True, bf16=False, **fields)


def test_a_data_set_that_cannot_be_judged_is_refused_before_a_weight_is_loaded(pairs, tmp_path):
    def make(rows, judge="length"):
        config = PARLConfig(str(tmp_path), use_cpu=True, bf16=False, dpr_mixture=0.3, judge=judge)
        PARLTrainer("no/such/model", args=config, train_dataset=rows)

    with pytest.raises(InputError, match="needs the whole data set, not a streamed one"):
        make(pairs.to_iterable_dataset())
    with pytest.raises(InputError, match="has no column `prompt`"):
        make(pairs.remove_columns("prompt"))
    with pytest.raises(InputError, match="has no value in the column 'answer'"):
        make(pairs, judge="exact_answer")


@pytest.mark.parametrize("name", ["parl", "parl-full"])
def test_recipes_are_accepted(name):
    config = load_run("parl", str(recipe_path(name))).training
    assert 0 < config.ddp_mixture + config.dpp_mixture + config.dpr_mixture < 1


def test_check_shows_the_run_and_refuses_a_judge_that_is_not_there(tmp_path, capsys):
    config = ["check", "parl", "--config", str(recipe_path("parl")), "--output_dir", str(tmp_path / "out")]
    assert main([*config, "--judge", "length"]) == 0
    assert "Ready: alignkit train parl" in capsys.readouterr().out
    assert main([*config, "--judge", "./no/such/judge.yaml"]) == 2
    assert "no/such/judge.yaml" in capsys.readouterr().err
    assert main([*config, "--judge", "exact_answer"]) == 2
    assert "no value in the column 'answer'" in capsys.readouterr().err
