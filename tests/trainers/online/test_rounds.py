"""The first four slots: prompts bound late, unequal groups, guidance and replay, and what they must leave alone."""

import pytest
import toy_parts
from online_worker import build, run

from alignkit.errors import InputError
from alignkit.parts.rollout import Origin


class Counting:
    """A reward function that remembers what it was asked."""

    __name__ = "counting"

    def __init__(self):
        self.calls = []

    def __call__(self, prompts, completions, answer, **columns):
        self.calls.append(list(prompts))
        texts = [item[0]["content"] for item in completions]
        return [float(f"\\boxed{{{gold}}}" in text) for text, gold in zip(texts, answer, strict=True)]


def task(model, folder, **config):
    return {"model": model, "key": "online", "output_dir": str(folder), "config": {"max_steps": 2, **config}}


def test_a_late_bound_source_decides_the_prompts_and_learns_from_the_rewards(bundled_model_dir, tmp_path, monkeypatch):
    toy_parts.register(monkeypatch, source=toy_parts.Backwards)
    reward = Counting()
    trainer = run(task(bundled_model_dir, tmp_path, source="toy"), reward_funcs=[reward])
    data, source = trainer.train_dataset, trainer.parts["source"]
    asked = [[prompts[0], prompts[4]] for prompts in reward.calls]
    assert asked == [[data[63]["prompt"], data[62]["prompt"]], [data[61]["prompt"], data[60]["prompt"]]]
    assert [indices for indices, _ in source.told] == [[63, 62], [61, 60]]
    assert all(rewards.shape == (2, 4) for _, rewards in source.told)


def test_unequal_groups_reach_the_estimator(bundled_model_dir, tmp_path, monkeypatch):
    toy_parts.register(monkeypatch, allocator=toy_parts.Lopsided, advantage=toy_parts.GroupMean)
    trainer = run(task(bundled_model_dir, tmp_path, allocator="toy", advantage="toy"))
    batch = trainer.parts["advantage"].batches[0]
    assert batch.groups.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    prompts = [row["prompt"] for row in batch.rows]
    assert prompts[0] == prompts[2] != prompts[3] == prompts[7]


def test_unequal_groups_are_refused_where_the_estimator_needs_equal_ones(bundled_model_dir, tmp_path, monkeypatch):
    toy_parts.register(monkeypatch, allocator=toy_parts.Lopsided)
    with pytest.raises(InputError, match="groups of equal size"):
        build(task(bundled_model_dir, tmp_path, allocator="toy"))


def test_guided_rows_are_generated_scored_and_trained_under_the_hint(bundled_model_dir, tmp_path, monkeypatch):
    toy_parts.register(monkeypatch, guidance=toy_parts.HintOnce, advantage=toy_parts.GroupMean)
    reward = Counting()
    trainer = run(
        task(bundled_model_dir, tmp_path, guidance="toy", advantage="toy", max_steps=1), reward_funcs=[reward]
    )
    failed = trainer.parts["guidance"].rows
    assert [len(call) for call in reward.calls] == [8, len(failed)] and failed
    batch = trainer.parts["advantage"].batches[0]
    assert [row for row, origin in enumerate(batch.origins.tolist()) if origin == Origin.GUIDED] == failed
    assert all("content" in prompt[0] for prompt in reward.calls[1])


def first_ratios(trainer):
    """|ratio - 1| of every counted token at the first update, recomputed under the training prompt."""
    inputs = trainer._buffered_inputs[0]
    mask = inputs["completion_mask"].bool()
    return (trainer._token_logps(inputs) - inputs["old_per_token_logps"])[mask].exp().sub(1).abs()


@pytest.mark.parametrize("part", [toy_parts.HintOnce, toy_parts.HintOffPolicy], ids=["on-policy", "off-policy"])
def test_old_and_new_logps_of_every_row_share_one_prompt(bundled_model_dir, tmp_path, monkeypatch, part):
    toy_parts.register(monkeypatch, guidance=part)
    config = {"guidance": "toy", "max_steps": 1, "num_iterations": 2, "learning_rate": 0.0}
    trainer = run(task(bundled_model_dir, tmp_path, **config))
    assert first_ratios(trainer).max() < 1e-5


def test_a_batch_without_failures_makes_one_generation_call(bundled_model_dir, tmp_path, monkeypatch):
    toy_parts.register(monkeypatch, guidance=toy_parts.HintOnce)

    def perfect(completions, **columns):
        calls.append(len(completions))
        return [1.0] * len(completions)

    calls = []
    trainer = run(task(bundled_model_dir, tmp_path, guidance="toy", max_steps=1), reward_funcs=[perfect])
    assert calls == [8] and trainer.parts["guidance"].rows == []


def test_a_replayed_row_brings_its_reward_and_tokens(bundled_model_dir, tmp_path, monkeypatch):
    toy_parts.register(monkeypatch, replay=toy_parts.LastGood)
    trainer = run(task(bundled_model_dir, tmp_path, replay="toy", max_steps=1))
    assert trainer.rollout_rewards[0].item() == 5.0
    inputs = trainer._buffered_inputs[0]
    rows = [
        row[mask.bool()].tolist()
        for row, mask in zip(inputs["completion_ids"], inputs["completion_mask"], strict=True)
    ]
    assert [5, 6, 7] in rows
    assert trainer.parts["replay"].seen == [[Origin.REPLAYED] + [Origin.FRESH] * 7]


def test_evaluation_leaves_the_parts_alone(bundled_model_dir, tmp_path, monkeypatch):
    toys = {slot: part for slot, part in toy_parts.TOYS.items() if slot != "allocator"}
    toy_parts.register(monkeypatch, **toys)
    trainer = build(task(bundled_model_dir, tmp_path, **dict.fromkeys(toys, "toy")))
    before = trainer.parts["source"].state_dict()
    trainer.evaluate(trainer.train_dataset.select(range(2)))
    assert trainer.parts["source"].state_dict() == before
    assert trainer.parts["replay"].seen == [] and trainer.parts["guidance"].rows is None


def test_all_failed_and_unscored_batches_give_no_gradient(bundled_model_dir, tmp_path):
    for value in (0.0, None):
        trainer = run(
            task(bundled_model_dir, tmp_path, max_steps=1),
            reward_funcs=[lambda completions, value=value, **columns: [value] * len(completions)],
        )
        entry = trainer.state.log_history[0]
        assert entry["loss"] == 0.0 and entry["grad_norm"] == 0.0


def test_a_source_needs_a_data_set_with_a_length(bundled_model_dir, tmp_path, monkeypatch):
    toy_parts.register(monkeypatch, source=toy_parts.Backwards)
    trainer = build(task(bundled_model_dir, tmp_path, source="toy"))
    trainer.train_dataset = trainer.train_dataset.to_iterable_dataset()
    with pytest.raises(InputError, match="with a length"):
        trainer.open_parts()
