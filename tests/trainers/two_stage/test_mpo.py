"""Two-stage MPO end to end: the split, the reference of the second stage, resume, and what is refused."""

import math
from pathlib import Path

import pytest
import torch
from mpo_runs import (
    LORA,
    BriefReward,
    Killed,
    base_settings,
    distance,
    pair,
    read_json,
    read_rows,
    runner,
    scored_pairs,
    weights,
    write_pairs,
)

from alignkit.config import load_run, recipe_path
from alignkit.errors import InputError
from alignkit.judges import LengthJudge
from alignkit.rewards import JudgeReward, guard_reward
from alignkit.trainers.two_stage import rl
from alignkit.trainers.two_stage.runner import MPORunner
from alignkit.trainers.two_stage.stages import stage_training


@pytest.fixture(scope="module")
def whole(tmp_path_factory, pairs_file):
    """An uninterrupted full-weight run: its folder and its fields."""
    fields = base_settings(pairs_file, tmp_path_factory.mktemp("whole") / "run")
    runner(fields, BriefReward()).run()
    return Path(fields["output_dir"]), fields


@pytest.fixture
def second_stage(monkeypatch):
    """What the second stage starts from, caught before its first step: {policy, reference, start}."""
    seen = {}
    check = rl.check_start

    def catch(trainer, start):
        check(trainer, start)
        policy = trainer.accelerator.unwrap_model(trainer.model)
        seen["policy"] = {name: value.clone() for name, value in policy.state_dict().items()}
        if trainer.ref_model is not None:
            seen["reference"] = {name: value.clone() for name, value in trainer.ref_model.state_dict().items()}

    monkeypatch.setattr("alignkit.trainers.two_stage.stages.check_start", catch)
    return seen


def test_sets_are_disjoint_and_hold_all_scorable_pairs_and_the_second_stage_sees_prompts_only(whole):
    folder, _ = whole
    easy, hard = read_rows(folder / "select" / "easy.jsonl"), read_rows(folder / "select" / "hard.jsonl")
    prompts = [row["prompt"][0]["content"] for row in (*easy, *hard)]
    assert sorted(prompts) == sorted(row["prompt"][0]["content"] for row in scored_pairs())
    # Absolute gaps 0, 1, 2, ... 15 and gamma 7.5.
    assert [row["prompt"][0]["content"] for row in easy] == [pair(n)["prompt"][0]["content"] for n in range(8, 16)]
    assert all(set(row) == {"prompt", "answer"} for row in hard)
    facts = read_json(folder / "metrics.json")["select"]
    assert (facts["easy"], facts["hard"], facts["not_scored"], facts["threshold"]) == (8, 8, 0, 7.5)


def test_second_stage_begins_without_kl_and_both_stages_move_the_model(whole, bundled_model_dir):
    folder, _ = whole
    metrics = read_json(folder / "metrics.json")
    assert metrics["dpo"]["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert metrics["rl"]["first_kl"] == pytest.approx(0.0, abs=1e-5)
    assert (metrics["dpo"]["steps"], metrics["rl"]["steps"]) == (4, 6)
    start = {name: value.float() for name, value in weights(bundled_model_dir).items()}
    assert distance(start, {name: value.float() for name, value in weights(folder / "dpo").items()}) > 1e-4
    assert distance(weights(folder / "dpo"), weights(folder / "final")) > 1e-4


def test_reference_of_the_second_stage_is_the_dpo_model_and_not_the_first_one(
    settings, second_stage, bundled_model_dir
):
    run = runner({**settings, "rl": {**settings["rl"], "learning_rate": 0.0, "max_steps": 1}}, BriefReward())
    final = run.run()
    dpo, first = weights(run.folder / "dpo"), weights(bundled_model_dir)
    reference = {name: second_stage["reference"][name] for name in dpo}
    assert distance(reference, dpo) == 0.0
    assert (
        distance({name: value.float() for name, value in reference.items()}, {n: v.float() for n, v in first.items()})
        > 1e-4
    )
    # No learning rate in the second stage: the DPO model comes back.
    assert distance(weights(final), dpo) == 0.0


def test_with_lora_the_frozen_copy_is_the_dpo_adapter_and_the_result_one_adapter(settings, second_stage):
    run = runner({**settings, **LORA}, BriefReward())
    final = run.run()
    dpo = weights(run.folder / "dpo")
    for name, tensor in dpo.items():
        stem, kind = name.rsplit(".", 1)
        for adapter in ("default", "ref"):
            assert torch.equal(second_stage["policy"][f"{stem}.{adapter}.{kind}"], tensor), adapter
    assert any(float(tensor.abs().max()) > 0 for name, tensor in dpo.items() if "lora_B" in name)
    metrics = read_json(run.folder / "metrics.json")
    assert metrics["rl"]["first_kl"] == pytest.approx(0.0, abs=1e-5)
    assert distance(weights(final), dpo) > 1e-5
    assert not list(run.folder.glob("**/ref"))


def test_the_second_stage_may_be_ppo_with_the_dpo_adapter_as_reference(settings, second_stage):
    rl = {"num_generations": 1, "critic": "adapter", "max_steps": 2, "max_completion_length": 16}
    run = runner({**settings, **LORA, "rl_trainer": "ppo", "rl": rl}, BriefReward())
    final = run.run()
    dpo = weights(run.folder / "dpo")
    for name, tensor in dpo.items():
        stem, kind = name.rsplit(".", 1)
        assert torch.equal(second_stage["policy"][f"{stem}.ref.{kind}"], tensor)
    metrics = read_json(run.folder / "metrics.json")
    assert metrics["rl"]["steps"] == 2 and metrics["rl"]["first_objective/kl"] == pytest.approx(0.0, abs=1e-5)
    assert distance(weights(final), dpo) > 1e-6


def test_killed_at_every_stage_and_inside_both_trainings_and_resumed_equals_uninterrupted(
    whole, tmp_path, monkeypatch
):
    from transformers import TrainerCallback

    folder, fields = whole
    cut = {**fields, "output_dir": str(tmp_path / "cut")}
    save, deaths = MPORunner.run_stage, []

    def dies_after(self, name, stage):
        save(self, name, stage)
        if name not in deaths:
            deaths.append(name)
            raise Killed

    class DiesInStep(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            place = (args.output_dir, state.global_step)
            # Step 5 of the second stage lies in its second pass over the prompts.
            if state.global_step in (2, 5) and place not in deaths:
                deaths.append(place)
                raise Killed

    from alignkit.trainers import assemble

    built = assemble.assemble

    def with_callback(*args, **kwargs):
        trainer = built(*args, **kwargs)
        trainer.add_callback(DiesInStep())
        return trainer

    monkeypatch.setattr("alignkit.trainers.two_stage.stages.assemble", with_callback)
    monkeypatch.setattr(MPORunner, "run_stage", dies_after)
    for _ in range(20):
        try:
            runner(cut, BriefReward()).run()
            break
        except Killed:
            continue
    assert len(deaths) == 6
    for stage in ("dpo", "rl"):
        assert distance(weights(folder / stage), weights(tmp_path / "cut" / stage)) == 0.0
    assert read_json(folder / "metrics.json")["select"] == read_json(tmp_path / "cut" / "metrics.json")["select"]


def test_finished_run_does_nothing_again(whole, monkeypatch):
    folder, fields = whole
    before = weights(folder / "final")
    monkeypatch.setattr("alignkit.trainers.two_stage.stages.assemble", None)
    assert runner(fields, BriefReward()).run() == str(folder / "rl")
    assert distance(before, weights(folder / "final")) == 0.0


def test_changed_settings_and_a_changed_reward_are_refused_by_name(whole):
    _, fields = whole
    with pytest.raises(InputError, match=r"`beta_rl` \(was 0.05, now 0.2\)"):
        runner({**fields, "beta_rl": 0.2}, BriefReward())
    with pytest.raises(InputError, match=r"`judge \(content\)`"):
        runner(fields, LengthJudge(target=5))


def test_scores_that_are_missing_are_counted_and_in_neither_set(tmp_path, settings):
    rows = scored_pairs()
    rows[3]["chosen_reward"] = rows[12]["rejected_reward"] = None
    settings["dataset_name"] = write_pairs(tmp_path / "gaps.jsonl", rows)
    run = runner(settings, BriefReward())
    run.run_stage("select", run.stages()["select"])
    facts = read_json(run.folder / "select" / "selection.json")
    assert (facts["easy"], facts["hard"], facts["not_scored"]) == (7, 7, 2)


def test_without_columns_the_reward_scores_the_pairs_once_whatever_kills_the_run(tmp_path, settings, monkeypatch):
    settings["dataset_name"] = write_pairs(tmp_path / "plain.jsonl", [pair(10 ** (n % 4)) for n in range(8)])
    del settings["threshold"]
    settings["easy_fraction"] = 0.5
    first = BriefReward()
    run = runner(settings, first)
    monkeypatch.setattr(
        "alignkit.trainers.two_stage.stages.write_selection", lambda *_: (_ for _ in ()).throw(Killed())
    )
    with pytest.raises(Killed):
        run.run_stage("select", run.stages()["select"])
    monkeypatch.undo()
    again = BriefReward()
    run = runner(settings, again)
    run.run_stage("select", run.stages()["select"])
    assert first.asked == 16 and again.asked == 0
    facts = read_json(run.folder / "select" / "selection.json")
    assert facts["scores_from"] == "reward" and facts["easy"] + facts["hard"] == 8 and facts["easy"] <= 4


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"threshold": 100.0}, r"gamma = 100 leaves no easy pair among 16.*quantiles.*lower `threshold`"),
        ({"threshold": 0.0}, None),
    ],
)
def test_empty_set_is_refused_with_gamma_and_the_quantiles(settings, changes, message):
    run = runner({**settings, **changes}, BriefReward())
    if message is None:  # gamma = 0: everything but exact ties is easy
        run.run_stage("select", run.stages()["select"])
        assert read_json(run.folder / "select" / "selection.json")["hard"] == 1
        return
    with pytest.raises(InputError, match=message):
        run.run()
    assert not (run.folder / "select").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"threshold": -1.0}, "`threshold` is -1.0"),
        ({"threshold": math.nan}, "`threshold` is nan"),
        ({"easy_fraction": 0.5}, "give either `threshold` or `easy_fraction`; both are given"),
        ({"threshold": None}, "neither is given"),
        ({"selection": "largest"}, "`selection` is 'largest'"),
        ({"beta_rl": 0.0}, "`beta_rl` is 0.0"),
        ({"beta_dpo": -0.1}, "`beta_dpo` is -0.1"),
        ({"reward": None}, "`reward` is missing"),
        ({"rl_trainer": "ppp"}, "`rl_trainer` is 'ppp'"),
        ({"rl": {"num_generation": 2}}, "`rl` has no field `num_generation`; did you mean `num_generations`"),
        ({"rl": {"beta": 0.2}}, "`rl` has no field `beta`; set `beta_rl`"),
        ({"rl": {"num_generations": "two"}}, "`rl`: `num_generations` is 'two'"),
        ({"rl": {"num_generations": 2, "steps_per_generation": 2}}, "`save_steps` is 1, but the responses"),
        ({"reward": "exact_answer", "answer_column": "gold"}, "`reward`: prompt 0 .* no value in the column 'gold'"),
        ({"dataset_streaming": True}, "the split needs the whole data set"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(settings, changes, message):
    with pytest.raises(InputError, match=message):
        runner({**settings, **changes})
    assert not Path(settings["output_dir"]).exists()


@pytest.mark.parametrize("name", ["mpo", "mpo-full"])
def test_recipes_are_accepted_by_both_stages(name):
    run = load_run("mpo", str(recipe_path(name)))
    for stage, beta in (("dpo", run.training.beta_dpo), ("rl", run.training.beta_rl)):
        config = stage_training(run, stage, Path("outputs"))
        assert config.beta == beta and config.learning_rate == getattr(run.training, stage).get(
            "learning_rate", run.training.learning_rate
        )


@pytest.mark.parametrize(
    "text, message",
    [("{", "is not valid JSON"), ("{}", "belongs to another kind of run"), ('{"version": 1}', "another kind of run")],
)
def test_damaged_state_is_refused(settings, text, message):
    folder = Path(settings["output_dir"])
    folder.mkdir()
    (folder / "state.json").write_text(text)
    with pytest.raises(InputError, match=message):
        runner(settings, BriefReward())


def test_reward_says_none_where_it_cannot_score_and_counts_it():
    logged = {}
    reward = guard_reward(JudgeReward(BriefReward()), "reward")
    prompts = [[{"role": "user", "content": "?"}]] * 2
    completions = [[{"role": "assistant", "content": "four"}], [{"role": "assistant", "content": ""}]]
    assert reward(prompts=prompts, completions=completions, log_metric=logged.__setitem__) == [-4.0, None]
    assert logged["rewards/reward/none"] == 1
