"""T-PPO: responses written over several windows, who learns from which tokens, and the limits in which it is PPO."""

import math

import pytest
import torch
from model_weights import largest_difference
from online_worker import reward, run


WINDOWS = {"window_length": 6, "max_completion_length": 20, "temperature": 1.5, "critic_learning_rate": 1e-2}


@pytest.fixture
def windows(make, rollouts):
    """Run a trainer's generation for some windows; after each, `seen(trainer, slots before, batch)`."""

    def go(trainer, count, seen):
        for step in range(count):
            trainer.state.global_step = step
            before = list(trainer.board.slots)
            seen(trainer, before, rollouts(trainer))

    return go


def counted(batch, name):
    return (batch["completion_mask"] * batch[name]).bool()


def test_every_token_trains_the_policy_once_and_the_critic_once_when_its_response_has_finished(make, windows):
    trainer = make(key="tppo", **WINDOWS)
    policy, value, lengths = {}, {}, {}

    def seen(trainer, before, batch):
        for row, slot in enumerate(before):
            zero = torch.zeros(20, dtype=torch.long)
            for table, name in ((policy, "tool_mask"), (value, "value_mask")):
                mask = counted(batch, name)[row]
                assert slot.place in table or slot.policies == [trainer.state.global_step]
                table[slot.place] = table.get(slot.place, zero) + torch.nn.functional.pad(mask, (0, 20 - len(mask)))
            if trainer.board.slots[row] is not slot:
                lengths[slot.place] = len(slot.completion_ids)
        assert batch["num_items_in_batch"] == counted(batch, "tool_mask").sum()
        assert batch["value_items"] == counted(batch, "value_mask").sum()

    windows(trainer, 10, seen)
    assert len(lengths) > 6 and max(lengths.values()) > 6
    for place, length in lengths.items():
        once = (torch.arange(20) < length).long()
        assert torch.equal(policy[place], once) and torch.equal(value[place], once)
    open_places = set(policy) - set(lengths)
    assert all(policy[place].max() == 1 and not value[place].any() for place in open_places)


def test_slots_are_kept_prompts_come_in_the_samplers_order_and_responses_go_on(make, windows):
    trainer = make(key="tppo", **WINDOWS)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(trainer.args.seed)).tolist()
    places = [slot.place for slot in trainer.board.slots]
    assert places == [0, 1, 2, 3]

    def seen(trainer, before, batch):
        for row, slot in enumerate(before):
            ids = batch["completion_ids"][row][batch["completion_mask"][row].bool()].tolist()
            assert ids == slot.completion_ids
            assert trainer._rows[row]["prompt"] == trainer.train_dataset[order[slot.place]]["prompt"]
            after = trainer.board.slots[row]
            if after is slot:
                assert len(ids) % 6 == 0 and len(ids) < 20 and trainer._tokenizer.eos_token_id not in ids
                known = prefixes.get(slot.place, [])
                assert ids[: len(known)] == known and len(ids) == len(known) + 6
                prefixes[slot.place] = ids
            else:
                places.append(after.place)
                assert len(ids) == 20 or ids[-1] in trainer.eos_token_ids
                assert len(set(slot.policies)) == math.ceil(len(ids) / 6)

    prefixes = {}
    windows(trainer, 10, seen)
    assert len(trainer.board.slots) == 4 and prefixes
    assert sorted(places) == list(range(len(places))) and trainer.board.taken == len(places)


def test_a_window_as_long_as_a_response_is_ppo_with_monte_carlo_targets(bundled_model_dir, tmp_path):
    shared = {"num_generations": 1, "per_device_train_batch_size": 8, "max_completion_length": 12, "max_steps": 3}
    shared |= {"critic_learning_rate": 1e-2, "epsilon_high": 0.28, "num_iterations": 2, "self_checks": False}
    ours = {**shared, "window_length": 12}
    theirs = {**shared, "critic_lam": 1.0, "kl_coef": 0.0}
    trainers = []
    for key, config in (("tppo", ours), ("ppo", theirs)):
        task = {"model": bundled_model_dir, "key": key, "output_dir": str(tmp_path / key), "config": config, "rows": 8}
        trainers.append(run({**task, "lora": True}))
    left, right = trainers
    assert largest_difference(left.model, right.model) == 0
    critics = [trainer.critic.state() for trainer in trainers]
    assert all(torch.equal(critics[0][name], critics[1][name]) for name in critics[0])
    assert critics[0]["head.weight"].any()
    assert left.state.log_history[0]["tppo/finished_share"] == 1.0


def test_reward_functions_see_finished_responses_alone(make, windows):
    calls = []

    def plain(completions, answer, log_extra, log_metric, **columns):
        calls.append(len(completions))
        log_extra("gold", list(answer))
        log_metric("scored", float(len(completions)))
        return [1.0 if row else None for row, _ in enumerate(completions)]

    async def later(completions, **columns):
        return [0.5] * len(completions)

    trainer = make(key="tppo", rewards=[plain, later], **WINDOWS)

    def seen(trainer, before, batch):
        finished = [row for row, slot in enumerate(before) if trainer.board.slots[row] is not slot]
        scores = trainer.rollout_rewards
        scored = [row for row in range(4) if not scores[row].isnan().all()]
        assert scored == finished
        if finished:
            assert calls.pop() == len(finished) and scores[finished[0]].isnan().tolist() == [True, False]
            assert [row["answer"] for row in (trainer._rows[row] for row in finished)] == [
                gold for gold in list(trainer._logs["extra"]["gold"])[-4:] if gold is not None
            ]
        assert not calls

    windows(trainer, 6, seen)


def test_an_unscored_finished_response_counts_nowhere_and_an_open_one_trains_the_policy(make, windows):
    trainer = make(key="tppo", rewards=[never], **WINDOWS)
    kinds = set()

    def seen(trainer, before, batch):
        for row, slot in enumerate(before):
            goes_on = trainer.board.slots[row] is slot
            kinds.add(goes_on)
            assert bool(counted(batch, "tool_mask")[row].any()) is goes_on
            assert not counted(batch, "value_mask")[row].any()
            if not goes_on:
                assert not batch["advantages"][row].any()

    windows(trainer, 5, seen)
    assert kinds == {True, False}


def never(completions, **columns):
    return [None] * len(completions)


def test_the_critic_rests_where_too_few_responses_finished_and_the_policy_does_not(make):
    trainer = make(key="tppo", max_steps=2, min_value_rows=5, learning_rate=1e-3, head=True, **WINDOWS)
    before = {name: item.clone() for name, item in trainer.critic.state().items()}
    policy = [item.detach().clone() for item in trainer.model.parameters()]
    trainer.train()
    assert all(torch.equal(item, before[name]) for name, item in trainer.critic.state().items())
    assert not all(map(torch.equal, policy, trainer.model.parameters()))
    assert [entry["tppo/value_steps"] for entry in trainer.state.log_history[:2]] == [0.0, 0.0]
    assert not any("value/grad_norm" in entry for entry in trainer.state.log_history)


def test_evaluation_writes_whole_responses_and_leaves_the_slots_alone(make, rollouts):
    trainer = make(key="tppo", per_device_eval_batch_size=4, **WINDOWS)
    rollouts(trainer)
    slots, places = list(trainer.board.slots), trainer.board.places.clone()
    trainer.model.eval()
    batch = trainer._prepare_inputs([trainer.train_dataset[row] for row in range(4)])
    assert batch["completion_mask"].sum(dim=1).max() > 6
    assert torch.equal(counted(batch, "tool_mask"), batch["completion_mask"].bool())
    assert torch.equal(batch["value_mask"], batch["completion_mask"]) and not trainer.rollout_rewards.isnan().any()
    assert trainer._compute_loss(trainer.model, batch).isfinite()
    assert all(map(lambda left, right: left is right, slots, trainer.board.slots))
    assert torch.equal(places, trainer.board.places)


def test_it_trains_and_logs_what_the_catalog_says(make):
    from alignkit.catalog import get

    trainer = make(key="tppo", max_steps=4, self_checks=True, **WINDOWS)
    trainer.train()
    log = trainer.state.log_history
    logged = {name for entry in log for name in entry}
    expected = {name for name in get("tppo").metrics if name.startswith(("tppo/", "value/", "returns/", "objective/"))}
    assert expected <= logged
    assert all(math.isfinite(entry["loss"]) for entry in log if "loss" in entry)
    assert all(entry["tppo/decode_steps"] <= 6 for entry in log if "tppo/decode_steps" in entry)
    assert trainer.findings


@pytest.mark.parametrize(
    "config, message",
    [
        ({"window_length": None}, "`window_length` is missing"),
        ({"window_length": 0}, "window_length"),
        ({"window_length": 17}, "window_length"),
        ({"min_value_rows": 0}, "min_value_rows"),
        ({"critic": "shared_head"}, "updated independently"),
        ({"num_generations": 2}, "slots have no groups"),
        ({"mask_truncated_completions": True}, "what the policy learns from"),
        ({"kl_coef": 0.1}, "hold no KL"),
        ({"bootstrap_truncated": True}, "is finished"),
        ({"whiten_rewards": True}, "are not known"),
        ({"reward_shaping": "conditioned"}, "reward_shaping"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(make, config, message):
    with pytest.raises(ValueError, match=message):
        make(key="tppo", rewards=[reward], **{"window_length": 4, **config})


def test_the_defaults_are_those_of_the_method(tmp_path):
    from alignkit import TPPOConfig

    args = TPPOConfig(output_dir=str(tmp_path), window_length=4, bf16=False, use_cpu=True)
    estimator = args.chosen_parts["advantage"].config
    assert (estimator.kl_coef, estimator.critic_lam, args.epsilon_high) == (0.0, 1.0, 0.28)
    assert not args.needs_reference and any("max_steps" in sentence for sentence in args.warnings())
