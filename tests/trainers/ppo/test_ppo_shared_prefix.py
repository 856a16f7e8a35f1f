"""PPO's policy and critics compute each prompt once, and no number changes for it."""

import pytest
import torch
from model_weights import largest_difference

from alignkit.trainers.ppo.critic_training import sequences


GROUPS = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 8}


@pytest.mark.parametrize("critic, lora", [("separate", False), ("shared_head", True), ("adapter", True)])
def test_values_on_shared_rows_are_those_of_padded_rows(make, rollouts, critic, lora):
    trainer = make(critic=critic, lora=lora, **GROUPS)
    batch = rollouts(trainer)
    input_ids, attention_mask, tokens = sequences(batch)
    attention_mask[0, -tokens:] = 0  # an empty completion has one value, after it
    counts = torch.arange(tokens + 1) <= attention_mask[:, -tokens:].sum(dim=1, keepdim=True)

    def values_of(mode):
        for sharing in trainer.sharings:
            sharing.mode = mode
        with trainer.critic.active():
            values = trainer.critic.values(input_ids, attention_mask, tokens)
            values[counts].square().sum().backward()
            before = trainer.critic.values(input_ids, attention_mask, tokens, after=False)
        torch.testing.assert_close(before[counts[:, 1:]], values[:, :-1][counts[:, 1:]], rtol=0, atol=1e-5)
        gradients = [item.grad.clone() for item in trainer.critic.parameters()]
        for item in trainer.critic.parameters():
            item.grad = None
        return values[counts].detach(), gradients

    plain, gradients = values_of("off")
    assert trainer.critic.sharing_model.prompt_sharing.form == "off" and plain.abs().max() > 1e-3
    for mode in ("mask", "grouped"):
        values, own = values_of(mode)
        assert trainer.critic.sharing_model.prompt_sharing.form == mode
        torch.testing.assert_close(values, plain, rtol=0, atol=1e-5)
        for left, right in zip(own, gradients, strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=1e-5 * float(right.abs().max()) + 1e-7)


@pytest.mark.parametrize(
    "critic, lora, config",
    [
        ("separate", False, {"kl_coef": 0.1, "bootstrap_truncated": True}),
        pytest.param("shared_head", False, {"gradient_checkpointing": True}, marks=pytest.mark.slow),
        pytest.param("adapter", True, {"gradient_checkpointing": True, "kl_coef": 0.1}, marks=pytest.mark.slow),
        pytest.param("separate", False, {"num_generations": 1, "bootstrap_truncated": True}, marks=pytest.mark.slow),
    ],
)
def test_five_steps_with_shared_prompts_give_the_same_policy_and_critic(make, critic, lora, config):
    settings = {**GROUPS, "max_steps": 5, "optim": "sgd", "learning_rate": 0.1, **config}
    runs = {}
    for mode in ("off", "auto"):
        trainer = make(critic=critic, lora=lora, shared_prefix=mode, **settings)
        trainer.critic_optimizer = torch.optim.SGD(trainer.critic.parameters(), lr=0.01)
        trainer.train()
        runs[mode] = trainer
    plain, shared = runs["off"], runs["auto"]
    assert plain.sharings == [] and {sharing.form for sharing in shared.sharings} <= {"mask", "grouped"}
    assert largest_difference(plain.model, shared.model) < 1e-5
    left, right = plain.critic.state(), shared.critic.state()
    assert max((left[name] - right[name]).abs().max().item() for name in left) < 1e-5
    logs = [[entry for entry in run.state.log_history if "loss" in entry] for run in (plain, shared)]
    for name in ("value/loss", "value/explained_variance", "returns/mean", "num_tokens"):
        assert [entry[name] for entry in logs[0]] == pytest.approx(
            [entry[name] for entry in logs[1]], rel=1e-4, abs=1e-4
        )
