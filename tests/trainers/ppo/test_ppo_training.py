"""PPO's loss and its rewards at the level of the trainer: closed limits, missing scores, warm-up, other losses."""

import math

import pytest
import torch
from model_weights import largest_difference
from shaken import shake

from alignkit.objectives.policy import ppo_loss
from alignkit.trainers.ppo.critic_training import sequences


PLAIN = {"gamma": 1.0, "lam": 1.0, "whiten_advantages": False, "num_generations": 2}


def length_reward(completions, **columns):
    """A score that no completion gets 0 of."""
    return [len(item[0]["content"]) / 20 for item in completions]


def log_probabilities(trainer, batch):
    """[n, T] from the full logits, with gradient: nothing of TRL's."""
    input_ids, attention_mask, tokens = sequences(batch)
    logits = trainer.model(input_ids=input_ids, attention_mask=attention_mask).logits[:, -tokens - 1 : -1]
    return logits.log_softmax(-1).gather(2, batch["completion_ids"][:, :, None]).squeeze(2)


def policy_gradient(trainer):
    return {name: item.grad.clone() for name, item in trainer.model.named_parameters() if item.grad is not None}


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_without_critic_clipping_and_whitening_it_is_reinforce_with_the_kl_in_the_reward(make, rollouts, kl_coef):
    trainer = make(head=False, kl_coef=kl_coef, rewards=[length_reward], **PLAIN)
    shake(trainer.model)
    batch = rollouts(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    ours = policy_gradient(trainer)
    trainer.model.zero_grad()
    mask, scores = batch["completion_mask"].bool(), trainer.rollout_rewards.sum(dim=1)
    with torch.no_grad(), trainer.model.disable_adapter():
        reference = log_probabilities(trainer, batch)
    logps = log_probabilities(trainer, batch)
    penalty = torch.where(mask, kl_coef * (logps.detach() - reference), 0.0)
    to_go = scores[:, None] - penalty.flip(1).cumsum(1).flip(1)
    assert bool(penalty.abs().max() > 1e-3) is (kl_coef > 0)
    (-(torch.where(mask, logps * to_go, 0.0)).sum() / mask.sum()).backward()
    theirs = policy_gradient(trainer)
    assert ours.keys() == theirs.keys() and any(grad.abs().max() > 1e-3 for grad in ours.values())
    for name, grad in theirs.items():
        torch.testing.assert_close(ours[name], grad, rtol=0, atol=1e-6)


def test_the_advantages_are_those_of_the_critics_values(make, rollouts):
    """One hand-made row: values from the critic, score at the end, lambda 0.5."""
    trainer = make(kl_coef=0.0, lam=0.5, gamma=0.9, whiten_advantages=False)
    batch = rollouts(trainer)
    row, expected = 0, []
    length = int(batch["completion_mask"][row].sum())
    values = [*batch["old_values"][row, :length].tolist(), 0.0]
    rewards = [0.0] * (length - 1) + [trainer.rollout_rewards[row].item()]
    running = 0.0
    for place in reversed(range(length)):
        running = rewards[place] + 0.9 * values[place + 1] - values[place] + 0.9 * 0.5 * running
        expected.insert(0, running)
    assert batch["advantages"][row, :length].tolist() == pytest.approx(expected, abs=1e-5)
    assert not batch["advantages"][row, length:].any()
    targets = [advantage + value for advantage, value in zip(expected, values, strict=False)]
    assert batch["returns"][row, :length].tolist() == pytest.approx(targets, abs=1e-5)


def test_a_truncated_completion_can_be_bootstrapped(make, rollouts):
    settings = {"lam": 1.0, "kl_coef": 0.0, "whiten_advantages": False, "max_completion_length": 12}
    plain, bootstrapped = (rollouts(make(bootstrap_truncated=flag, **settings)) for flag in (False, True))
    trainer = make(bootstrap_truncated=True, **settings)
    loaded = trainer._more_to_load(bootstrapped)
    truncated = trainer._truncated(bootstrapped)
    assert truncated.any() and not truncated.all()
    gain = torch.where(truncated, loaded["end_values"](), 0.0)[:, None] * bootstrapped["completion_mask"]
    torch.testing.assert_close(bootstrapped["returns"] - plain["returns"], gain, rtol=1e-4, atol=1e-5)


def sometimes(completions, **columns):
    """No score for every third completion."""
    return [None if row % 3 == 1 else float(len(item[0]["content"])) for row, item in enumerate(completions)]


def never(completions, **columns):
    return [None] * len(completions)


def test_a_row_without_a_score_counts_nowhere(make, rollouts):
    trainer = make(rewards=[sometimes], beta=0.1)
    batch = rollouts(trainer)
    scored = ~trainer.rollout_rewards.isnan().any(dim=1)
    assert scored.tolist() == [True, False, True, True]
    mask = batch["completion_mask"] * batch["tool_mask"]
    assert torch.equal(mask, batch["completion_mask"] * scored[:, None])
    assert batch["num_items_in_batch"] == mask.sum()
    valid = batch["advantages"][mask.bool()]
    assert not batch["advantages"][1].any() and valid.mean().abs() < 1e-5 and abs(valid.std() - 1) < 1e-4
    trainer._compute_loss(trainer.model, batch).backward()
    whole = [*policy_gradient(trainer).values(), *(item.grad.clone() for item in trainer.critic.parameters())]
    for item in [*trainer.model.parameters(), *trainer.critic.parameters()]:
        item.grad = None
    kept = {name: value[scored] if value.dim() else value for name, value in batch.items()}
    trainer._compute_loss(trainer.model, kept).backward()
    without = [*policy_gradient(trainer).values(), *(item.grad for item in trainer.critic.parameters())]
    for left, right in zip(whole, without, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_a_batch_without_any_score_trains_nothing_and_breaks_nothing(make):
    trainer = make(rewards=[never], head=False, max_steps=2, kl_target=1.0)
    before = [item.detach().clone() for item in trainer.model.parameters()]
    trainer.train()
    assert losses(trainer) == [0.0, 0.0]
    assert all(map(torch.equal, before, trainer.model.parameters())) and not trainer.critic.head.weight.any()
    assert trainer.parts["advantage"].kl_coef == 0.05


@pytest.mark.parametrize("dual_clip", [None, 1.5])
def test_the_policy_loss_is_the_clipped_one_and_the_dual_clip_bounds_it(make, rollouts, dual_clip):
    trainer = make(dual_clip=dual_clip, kl_coef=0.0)
    batch = rollouts(trainer)
    noise = torch.randn(batch["advantages"].shape, generator=torch.Generator().manual_seed(0))
    batch["old_per_token_logps"] = batch["old_per_token_logps"] + noise
    batch["advantages"] = noise.flip(0)
    ours = trainer._compute_loss(trainer.model, batch)
    mask = batch["completion_mask"].bool()
    logps = trainer._token_logps(batch)
    terms = ppo_loss(logps, batch["old_per_token_logps"], batch["advantages"], mask, 0.2, 0.2, dual_clip)
    assert ours.item() == pytest.approx((terms.sum() / mask.sum()).item(), abs=1e-5)
    free = ppo_loss(logps, batch["old_per_token_logps"], batch["advantages"], mask, 0.2, 0.2)
    assert (terms != free).any() == (dual_clip is not None)


@pytest.mark.parametrize("generations", [1, 2])
def test_groups_of_any_size_train_with_several_updates_per_batch(make, generations):
    sizes = {"num_generations": generations, "steps_per_generation": 2, "num_iterations": 2}
    trainer = make(max_steps=4, learning_rate=1e-3, critic_learning_rate=1e-2, **sizes)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert trainer.args.num_generations == generations and type(trainer.args.num_generations) is int
    assert len(logs) == 4 and all(math.isfinite(entry["loss"]) for entry in logs)
    assert logs[0]["policy/approx_kl"] == pytest.approx(0, abs=1e-6) and logs[3]["policy/approx_kl"] > 1e-6
    assert ("frac_reward_zero_std" in logs[0]) == (generations > 1)


@pytest.mark.parametrize("critic", ["separate", "shared_head"])
def test_in_the_warm_up_the_critic_alone_learns(make, critic):
    trainer = make(critic, max_steps=2, critic_warmup_steps=2, weight_decay=0.1, critic_learning_rate=1e-2)
    before = [item.detach().clone() for item in trainer.model.parameters()]
    head = trainer.critic.head.weight.detach().clone()
    trainer.train()
    assert all(map(torch.equal, before, trainer.model.parameters()))
    assert not torch.equal(head, trainer.critic.head.weight)


def test_after_the_warm_up_the_policy_learns(make):
    trainer = make(max_steps=2, critic_warmup_steps=1, learning_rate=1e-3)
    before = [item.detach().clone() for item in trainer.model.parameters()]
    trainer.train()
    assert not all(map(torch.equal, before, trainer.model.parameters()))


@pytest.mark.parametrize("loss", ["mhpo", "sapo", "cispo", "gspo"])
def test_the_losses_of_other_methods_compose_with_the_critic(make, loss):
    trainer = make(policy_loss=loss, max_steps=2, num_iterations=2, learning_rate=1e-3)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all(math.isfinite(entry["loss"]) for entry in logs) and len(logs) == 2
    assert "value/loss" in logs[1] and any(name.startswith(f"{loss}/") for name in logs[1]) == (
        loss in ("mhpo", "sapo")
    )


def test_the_adaptive_kl_weight_follows_the_kl_in_training_alone(make, rollouts):
    trainer = make(kl_target=1e-3, kl_horizon=40.0, kl_estimator="k3")
    shake(trainer.model, std=0.2)
    rollouts(trainer)
    assert trainer.parts["advantage"].kl_coef == pytest.approx(0.05 * (1 + 0.2 * 4 / 40))
    assert trainer._metrics["train"]["objective/kl_coef"] == [0.05]
    trainer.model.eval()
    trainer._generate_and_score_completions([trainer.train_dataset[row] for row in range(4)])
    assert trainer.parts["advantage"].kl_coef == pytest.approx(0.05 * 1.02)


def test_evaluation_reports_the_critic_and_moves_nothing(make):
    trainer = make("adapter", per_device_eval_batch_size=4)
    parameters = [*trainer.model.parameters(), *trainer.critic.parameters()]
    before = [item.detach().clone() for item in parameters]
    trainer.evaluate(trainer.train_dataset.select(range(4)))
    logged = trainer.state.log_history[-1]
    assert {"eval_value/loss", "eval_objective/score", "eval_value/explained_variance"} <= logged.keys()
    assert all(map(torch.equal, before, parameters)) and all(item.grad is None for item in parameters)


def test_a_full_policy_is_measured_against_a_reference_of_its_own(make, rollouts):
    trainer = make(lora=False, kl_coef=0.2, self_checks=True)
    assert trainer.ref_model is not None and trainer.beta == trainer.args.beta == 0.0
    shake(trainer.model, std=0.02, only="mlp.down_proj")
    rollouts(trainer)
    assert trainer._metrics["train"]["objective/kl"][0] != 0.0
    assert "kl" not in trainer._metrics["train"]
    found = {finding.name: finding for finding in trainer.findings}
    assert not found["reference"].ok and "nats away" in found["reference"].sentence


def test_without_any_kl_no_reference_is_loaded(make, rollouts):
    trainer = make(lora=False, kl_coef=0.0, self_checks=True)
    rollouts(trainer)
    assert trainer.ref_model is None
    assert "there is none" in {finding.name: finding for finding in trainer.findings}["reference"].sentence


def test_accumulation_gives_the_update_of_the_whole_batch(make):
    sizes = ({"per_device_train_batch_size": 4}, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2})
    settings = {
        "max_steps": 1,
        "optim": "sgd",
        "learning_rate": 1.0,
        "max_grad_norm": 1e9,
        "critic_max_grad_norm": 1e9,
    }
    grown = []
    for size in sizes:
        trainer = make(lora=False, **settings, **size)
        trainer.train()
        grown.append(trainer)
    assert largest_difference(grown[0].model, grown[1].model) < 1e-5
    norms = [trainer.state.log_history[0]["value/grad_norm"] for trainer in grown]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
