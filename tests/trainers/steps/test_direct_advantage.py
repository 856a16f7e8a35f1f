"""Direct advantage end to end: states, values, critic, advantages, policy; resume, and what is refused."""

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from step_runs import Killed, base_settings, distance, runner, weights

from alignkit.cli import main
from alignkit.config import load_run, recipe_path
from alignkit.errors import InputError
from alignkit.generation import load_tokenizer, resolve_source
from alignkit.judges import LengthJudge
from alignkit.trainers.steps.actor import StateSampler, StepActorTrainer, actor_training, check_steps
from alignkit.trainers.steps.advantages import step_rows
from alignkit.trainers.steps.config import StepActorConfig
from alignkit.trainers.steps.critic import critic_training
from alignkit.trainers.steps.runner import OUTPUTS, DirectAdvantageRunner
from alignkit.trainers.steps.splitting import StepSplitter
from alignkit.trainers.steps.states import balanced, prefixes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of two iterations: its folder and its fields."""
    fields = base_settings(tmp_path_factory.mktemp("whole") / "run")
    runner(fields).run()
    return Path(fields["output_dir"]), fields


@pytest.fixture(scope="module")
def tokenizer(bundled_model_dir):
    return load_tokenizer(resolve_source(bundled_model_dir))


def rows_of(path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def numbers(folder) -> list[dict]:
    return json.loads((folder / "metrics.json").read_text())["iterations"]


# Steps and states


@given(st.text(alphabet="12+\n", max_size=30), st.sampled_from(["\n", "\n\n", "+1"]))
def test_steps_put_together_are_the_response_and_each_but_the_last_ends_at_a_delimiter(tokenizer, text, delimiter):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    ends = StepSplitter(tokenizer, delimiter).ends(ids)
    steps = [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert list(itertools.chain(*steps)) == ids and all(steps)
    texts = [tokenizer.decode(step) for step in steps]
    assert all(item.endswith(delimiter) and item.count(delimiter) == 1 for item in texts[:-1])
    assert len(steps) == text.count(delimiter) + bool(text.split(delimiter)[-1])


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.0, 1.0, None])), max_size=12), st.integers(1, 8))
def test_kept_responses_are_different_scored_and_as_balanced_as_they_can_be(drawn, count):
    score_of = {}
    for number, score in drawn:
        score_of.setdefault(number, score)
    numbers_drawn = [number for number, _ in drawn]
    kept = balanced([[number] for number in numbers_drawn], [score_of[n] for n in numbers_drawn], count)
    right = sum(score_of[ids[0]] == 1.0 for ids in kept)
    wrong = len(kept) - right
    there = [list(score_of.values()).count(score) for score in (1.0, 0.0)]
    assert len({tuple(ids) for ids in kept}) == len(kept) == min(count, sum(there))
    assert abs(right - wrong) <= 1 or (right == there[0] if right < wrong else wrong == there[1])


def test_states_are_the_problem_and_every_step_but_the_last_the_same_once(tokenizer):
    splitter = StepSplitter(tokenizer, "\n")
    first, second = (tokenizer(text)["input_ids"] for text in ("1+1=2\n2+1=3\n3", "1+1=2\n2+2=4\n4"))
    texts = [tokenizer.decode(ids) for ids in prefixes([first, second], splitter)]
    assert texts == ["", "1+1=2\n", "1+1=2\n2+1=3\n", "1+1=2\n2+2=4\n"]


# Advantages


def state(candidates: list[tuple[list[int], bool, float | None]]) -> dict:
    items = [{"ids": ids, "ends": ends, "score": score} for ids, ends, score in candidates]
    return {"state_id": 7, "prompt_ids": [1], "steps_ids": [2], "candidates": items}


def test_a_step_that_ends_the_response_has_its_score_and_not_the_critics_value():
    one = state([([3], False, None), ([4], True, 1.0), ([3], False, None), ([5], True, 0.0)])
    values = {(1, 2, 3): 0.25, (1, 2, 4): 0.9, (1, 2, 5): 0.9}
    rows, facts = step_rows([one], values, 4, 0.1)
    mean = (0.25 + 1.0 + 0.25 + 0.0) / 4
    assert [(row["completion_ids"], pytest.approx(row["advantage"])) for row in rows] == [
        ([3], 0.25 - mean),
        ([4], 1.0 - mean),
        ([5], -mean),
    ]
    assert rows[0]["prompt_ids"] == [1, 2] and facts["largest_gap"] == pytest.approx(1.0)


def test_equal_candidates_are_not_kept_and_one_that_was_not_scored_is_left_out():
    same = state([([3], False, None), ([4], False, None)])
    missing = state([([3], False, None), ([4], True, None)])
    rows, facts = step_rows([same, missing], {(1, 2, 3): 0.5, (1, 2, 4): 0.5}, 2, 0.1)
    assert rows == [] and facts["candidates_without_value"] == 1 and facts["states_kept"] == 0


# The whole run


def test_every_stage_writes_what_the_next_one_reads(whole):
    folder, fields = whole
    states = rows_of(folder / "iter_0" / "values.jsonl")
    assert [row["state_id"] for row in states] == list(range(len(states)))
    for row in states:
        assert 0 <= row["value"] <= 1 and len(row["candidates"]) == fields["num_completions"]
        assert all((item["score"] is not None) == item["ends"] for item in row["candidates"])
    by_state = {row["state_id"]: row for row in states}
    kept = rows_of(folder / "iter_0" / "advantages.jsonl")
    for row in kept:
        origin = by_state[row["state_id"]]
        assert row["prompt_ids"] == origin["prompt_ids"] + origin["steps_ids"]
        assert row["completion_ids"] in [item["ids"] for item in origin["candidates"]]
    keys = [(row["state_id"], tuple(row["completion_ids"])) for row in kept]
    assert len(set(keys)) == len(keys)


def test_the_policy_starts_at_its_reference_and_the_critic_at_one_half(whole):
    folder, _ = whole
    for iteration, facts in enumerate(numbers(folder)):
        assert facts["actor"]["first_direct_advantage/log_ratio_size"] == pytest.approx(0.0, abs=1e-5)
        assert facts["actor"]["last_direct_advantage/log_ratio_size"] > 1e-3
        # The targets are nats away: the gradient is clipped (at 1) from the first step on, and logged as it was before.
        assert facts["actor"]["first_grad_norm"] > 1
        kept = rows_of(folder / f"iter_{iteration}" / "advantages.jsonl")
        size = sum(abs(row["advantage"]) for row in kept) / len(kept)
        assert facts["advantages"]["advantage_size"] == pytest.approx(size)
    assert numbers(folder)[0]["critic"]["first_loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_second_iteration_goes_on_from_policy_and_critic_of_the_first(whole):
    folder, _ = whole
    assert (folder / "final").resolve() == (folder / "iter_1" / "actor").resolve()
    facts = numbers(folder)[1]
    # The critic was trained on: it does not begin at 1/2 for every state again.
    assert facts["critic"]["first_critic/value_mean"] != pytest.approx(0.5, abs=1e-6)
    for stage in ("critic", "actor"):
        moved = distance(weights(folder / "iter_0" / stage), weights(folder / "iter_1" / stage))
        assert 1e-5 < moved
    adapter = json.loads((folder / "final" / "adapter_config.json").read_text())
    assert adapter["task_type"] == "CAUSAL_LM" and not list(folder.glob("**/ref"))


def test_killed_after_every_stage_and_inside_both_trainings_and_resumed_equals_uninterrupted(
    whole, tmp_path, monkeypatch
):
    from transformers import Trainer

    folder, fields = whole
    cut = {**fields, "output_dir": str(tmp_path / "cut"), "num_iterations": 1}
    save, training_step, deaths = DirectAdvantageRunner.run_stage, Trainer.training_step, []

    def dies_after(self, name, stage):
        save(self, name, stage)
        if name not in deaths:
            deaths.append(name)
            raise Killed

    def dies_inside(self, *args, **kwargs):
        place = self.args.output_dir
        if self.state.global_step == 2 and place not in deaths:
            deaths.append(place)
            raise Killed
        return training_step(self, *args, **kwargs)

    monkeypatch.setattr(DirectAdvantageRunner, "run_stage", dies_after)
    monkeypatch.setattr(Trainer, "training_step", dies_inside)
    for _ in range(10):
        try:
            runner(cut).run()
            break
        except Killed:
            continue
    assert len(deaths) == len(OUTPUTS) + 2
    for name in ("states", "values", "advantages"):
        assert rows_of(folder / "iter_0" / OUTPUTS[name]) == rows_of(tmp_path / "cut" / "iter_0" / OUTPUTS[name])
    for stage in ("critic", "actor"):
        assert distance(weights(folder / "iter_0" / stage), weights(tmp_path / "cut" / "iter_0" / stage)) == 0.0
    assert not list((tmp_path / "cut").glob("**/*.partial.jsonl"))


def test_finished_run_does_nothing_again_and_changed_settings_are_refused(whole):
    folder, fields = whole
    before = (folder / "iter_1" / "actor").stat().st_mtime_ns
    assert runner(fields).run() == str(folder / "iter_1" / "actor")
    assert (folder / "iter_1" / "actor").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"`beta` \(was 0.1, now 0.2\)"):
        runner({**fields, "beta": 0.2})


def test_a_reward_that_is_no_share_is_refused_with_the_score(tmp_path):
    run = runner(base_settings(tmp_path / "run", num_prompts=1, num_generations=2), LengthJudge())
    with pytest.raises(InputError, match=r"the score -\d+; the values of states are shares"):
        run.run()
    assert not (run.folder / "iter_0" / "states.jsonl").exists()


@pytest.mark.slow
def test_qlora_trains_two_adapters_on_a_quantised_base(tmp_path):
    run = runner(base_settings(tmp_path / "run", load_in_4bit=True, num_iterations=1, num_prompts=2))
    run.run()
    critic, actor = (weights(run.folder / "iter_0" / stage) for stage in ("critic", "actor"))
    assert float(critic["base_model.model.score.weight"].abs().max()) > 0
    assert all(
        any(float(item.abs().max()) > 0 for name, item in part.items() if "lora_B" in name) for part in (critic, actor)
    )
    facts = numbers(run.folder)[0]
    assert facts["critic"]["first_loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert facts["actor"]["first_direct_advantage/log_ratio_size"] == pytest.approx(0.0, abs=1e-5)


# The policy's trainer by itself


def test_rows_of_a_state_follow_each_other_and_the_order_is_that_of_the_epoch():
    sampler = StateSampler([4, 4, 9, 2, 2, 2], seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(6)) and first == list(sampler)
    states = [[4, 4, 9, 2, 2, 2][row] for row in first]
    assert len([1 for place in range(6) if place == 0 or states[place] != states[place - 1]]) == 3
    orders = set()
    for sampler.epoch in range(8):
        orders.add(tuple(sampler))
    assert len(orders) > 1


def test_first_loss_is_the_scaled_square_and_one_step_moves_each_step_towards_its_advantage(
    bundled_model_dir, tokenizer, tmp_path
):
    from datasets import Dataset

    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "1+1?"}], add_generation_prompt=True)
    prompt = list(prompt["input_ids"] if hasattr(prompt, "keys") else prompt)
    steps = [tokenizer(text)["input_ids"] for text in ("1+1=2\n", "1+1=3\n")]
    rows = [
        {"state_id": 0, "prompt_ids": prompt, "completion_ids": ids, "advantage": advantage}
        for ids, advantage in zip(steps, (0.2, -0.2), strict=True)
    ]
    settings = {"max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 1e-3, "logging_steps": 1}
    machine = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    config = StepActorConfig(str(tmp_path), beta=0.1, gradient_checkpointing=False, **settings, **machine)
    trainer = StepActorTrainer(bundled_model_dir, config, Dataset.from_list(rows))
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert logs[0]["loss"] == pytest.approx(0.5 * (0.2 / 0.1) ** 2, rel=1e-4)
    assert logs[0]["direct_advantage/target_size"] == pytest.approx(2.0)
    # Measured at the second step, after one update.
    assert logs[1]["direct_advantage/sign_agreement"] == 1.0 and logs[1]["loss"] < logs[0]["loss"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"advantage": math.nan}, "row 1.*advantage"),
        ({"completion_ids": []}, r"row 1 \(counted from 0\), field `completion_ids`: \[\]"),
        ({"ref_logps": None}, "row 1.*ref_logps"),
    ],
)
def test_bad_steps_are_refused_with_their_row(change, message):
    from datasets import Dataset

    row = {"state_id": 0, "prompt_ids": [1], "completion_ids": [2], "advantage": 0.5, "ref_logps": -1.0}
    with pytest.raises(InputError, match=message):
        check_steps(Dataset.from_list([row, {**row, **change}]))
    del row["prompt_ids"]
    with pytest.raises(InputError, match="no column `prompt_ids`"):
        check_steps(Dataset.from_list([row]))


# What is refused, and what is shipped


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"beta": 0.0}, "`beta` is 0.0"),
        ({"min_gap": -0.1}, "`min_gap` is -0.1"),
        ({"num_kept": 5}, "`num_kept` is 5"),
        ({"num_completions": 1}, "`num_completions` is 1"),
        ({"num_iterations": 0}, "`num_iterations` is 0"),
        ({"step_delimiter": ""}, "`step_delimiter` is empty"),
        ({"temperature": 0.0}, "`temperature` is 0.0"),
        ({"reward": None}, "`reward` is missing"),
        ({"actor": {"beta": 0.2}}, "`actor` has no field `beta`; set `beta` of the run"),
        ({"actor": {"max_length": 64}}, "`max_length` is 64, which StepActorConfig does not read"),
        ({"actor": {"sft_weight": 0.5}}, "`sft_weight` is 0.5"),
        ({"critic": {"learning_rat": 1}}, "`critic` has no field `learning_rat`; did you mean `learning_rate`"),
        ({"dataset_streaming": True}, "the stages need the whole data set"),
        ({"model_name_or_path": "./no/such/folder"}, "does not exist"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        runner({**base_settings(tmp_path / "run"), **changes})
    assert not (tmp_path / "run").exists()


def test_a_problem_without_an_answer_is_refused(tmp_path):
    (tmp_path / "problems.jsonl").write_text('{"prompt": [{"role": "user", "content": "1+1?"}]}\n')
    fields = base_settings(tmp_path / "run", dataset_name=str(tmp_path / "problems.jsonl"))
    (tmp_path / "run.json").write_text(json.dumps(fields))
    with pytest.raises(InputError, match="`reward`: prompt 0 .* no value in the column 'answer'"):
        DirectAdvantageRunner(load_run("direct_advantage", str(tmp_path / "run.json")))


@pytest.mark.parametrize("name", ["direct_advantage", "direct_advantage-full"])
def test_recipes_are_accepted_by_both_trainings(name):
    run = load_run("direct_advantage", str(recipe_path(name)))
    for stage, make in (("critic", critic_training), ("actor", actor_training)):
        assert make(run, Path("outputs"), 0).learning_rate == getattr(run.training, stage)["learning_rate"]
    assert actor_training(run, Path("outputs"), 0).beta == run.training.beta


def test_check_shows_the_plan_and_train_names_the_command_that_runs_the_stages(tmp_path, capsys):
    config = ["--config", str(recipe_path("direct_advantage")), "--output_dir", str(tmp_path / "out")]
    assert main(["check", "direct_advantage", *config]) == 0
    output = capsys.readouterr().out
    assert "stage states: 8 responses to each of 256 problems = 2,048, at most 4 kept" in output
    assert "Memory per device" in output and "Ready: alignkit loop direct_advantage" in output
    assert main(["train", "direct_advantage", *config]) == 2
    assert "use `alignkit loop direct_advantage`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
