"""Where a method's limit is TRL's: the numbers of the installed `trl.GRPOTrainer` itself, from its own methods.

The trainer's methods run on a stand-in that carries only the attributes they read, so no model has to be loaded.
"""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from token_batches import token_batch

from alignkit.objectives.advantages import gdpo_advantages, grpo_advantages
from alignkit.objectives.policy import aggregate, grpo_loss, sapo_loss


ACCELERATOR = SimpleNamespace(
    device=torch.device("cpu"),
    num_processes=1,
    process_index=0,
    gather=lambda tensor: tensor,
    reduce=lambda tensor, reduction: tensor,
)


@pytest.fixture(scope="module")
def grpo_trainer():
    from trl import GRPOTrainer

    return GRPOTrainer


def trl_loss(grpo_trainer, batch, loss_type, beta=0.0, level="token", delta=None, correction=True):
    """Loss and its gradient in the policy's log-probabilities from TRL's `_compute_loss`."""
    logps = batch.logps.clone().requires_grad_()
    rows, tokens = logps.shape
    trainer = SimpleNamespace(
        accelerator=ACCELERATOR,
        args=SimpleNamespace(
            delta=delta,
            use_bias_correction_kl=correction,
            sapo_temperature_pos=1.0,
            sapo_temperature_neg=1.05,
            steps_per_generation=1,
        ),
        model=SimpleNamespace(training=True),
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logps, batch.entropies, None),
        _metrics={"train": defaultdict(list)},
        _entropy_bonus_enabled=False,
        aux_loss_enabled=False,
        beta=beta,
        current_gradient_accumulation_steps=1,
        epsilon_low=0.2,
        epsilon_high=0.28,
        importance_sampling_level=level,
        loss_type=loss_type,
        max_completion_length=7,
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
    )
    ids = torch.zeros(rows, tokens, dtype=torch.long)
    inputs = {
        "prompt_ids": ids,
        "prompt_mask": torch.ones_like(ids),
        "completion_ids": ids,
        "completion_mask": batch.mask.long(),
        "advantages": batch.advantages,
        "old_per_token_logps": batch.old_logps,
        "ref_per_token_logps": batch.ref_logps,
        "num_items_in_batch": batch.mask.sum(),
    }
    loss = grpo_trainer._compute_loss(trainer, None, inputs)
    return loss.detach(), torch.autograd.grad(loss, logps)[0]


def own_loss(batch, loss_type, beta=0.0, level="token", delta=None, correction=True):
    logps = batch.logps.clone().requires_grad_()
    if loss_type == "sapo":
        per_token = sapo_loss(logps, batch.old_logps, batch.advantages, batch.mask)
    else:
        per_token = grpo_loss(
            logps,
            batch.old_logps,
            batch.advantages,
            batch.mask,
            0.2,
            0.28,
            delta,
            level,
            batch.ref_logps,
            beta,
            correction,
        )
    how = "grpo" if loss_type == "sapo" else loss_type
    loss = aggregate(per_token, batch.mask, how, 7, batch.mask.sum())
    return loss.detach(), torch.autograd.grad(loss, logps)[0]


@pytest.mark.parametrize(
    "options",
    [
        {"loss_type": "grpo"},
        {"loss_type": "bnpo"},
        {"loss_type": "dapo"},
        {"loss_type": "dr_grpo"},
        {"loss_type": "luspo"},
        {"loss_type": "sapo"},
        {"loss_type": "dapo", "beta": 0.04},
        {"loss_type": "grpo", "beta": 0.04, "correction": False},
        {"loss_type": "dr_grpo", "delta": 1.5},
        {"loss_type": "grpo", "level": "sequence"},
        {"loss_type": "luspo", "level": "sequence", "beta": 0.04},
        {"loss_type": "bnpo", "beta": 0.04, "delta": 1.5},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_and_gradient_are_those_of_trl(grpo_trainer, options, dtype, seed):
    batch = token_batch(seed, spread=0.6, dtype=dtype)
    # TRL keeps SAPO's temperatures in float32 whatever the log-probabilities are.
    exact = dtype == torch.float64 and options["loss_type"] != "sapo"
    tolerance = {"atol": 1e-12, "rtol": 1e-12} if exact else {"atol": 1e-6, "rtol": 1e-5}
    for own, trl in zip(own_loss(batch, **options), trl_loss(grpo_trainer, batch, **options), strict=True):
        torch.testing.assert_close(own, trl, **tolerance)


def trl_advantages(grpo_trainer, rewards, num_generations, weights, scale_rewards, aggregation):
    """Advantages from TRL's `_generate_and_score_completions`, with generation and rewards given."""
    rows, columns = rewards.shape
    completions = [[1, 2]] * rows
    trainer = SimpleNamespace(
        accelerator=ACCELERATOR,
        args=SimpleNamespace(
            gradient_accumulation_steps=1,
            gradient_checkpointing_kwargs=None,
            steps_per_generation=1,
            per_device_train_batch_size=rows,
        ),
        model=SimpleNamespace(training=True, is_gradient_checkpointing=False),
        _calculate_rewards=lambda *args: rewards.clone(),
        _generate=lambda prompts: (completions, completions, None, ["x"] * rows, None, {}, None, None),
        _logs=defaultdict(list, rewards=defaultdict(list), extra=defaultdict(list)),
        _metrics={"train": defaultdict(list)},
        _pending_extra_logs={},
        _pending_metrics={},
        _tokenizer=SimpleNamespace(pad_token_id=0),
        beta=0.0,
        environment_factories=None,
        environments=None,
        mask_truncated_completions=False,
        multi_objective_aggregation=aggregation,
        num_generations=num_generations,
        num_iterations=1,
        pad_to_multiple_of=None,
        reward_func_names=[str(k) for k in range(columns)],
        reward_funcs=[None] * columns,
        reward_weights=weights,
        scale_rewards=scale_rewards,
        tools=None,
        use_vllm=False,
    )
    return grpo_trainer._generate_and_score_completions(trainer, [{"prompt": "?"}] * rows)["advantages"]


def reward_table(seed):
    """24 rows of 3 rewards, a fifth of them missing, one row without any, one binary column."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(24, 3, generator=generator)
    rewards[:, 1] = (rewards[:, 1] > 0).float()
    rewards = rewards.masked_fill(torch.rand(24, 3, generator=generator) < 0.2, torch.nan)
    rewards[5] = torch.nan
    return rewards


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("seed", range(5))
def test_grpo_advantages_are_those_of_trl(grpo_trainer, scale, seed):
    rewards, weights = reward_table(seed), torch.tensor([1.0, 0.5, 2.0])
    expected = trl_advantages(grpo_trainer, rewards, 4, weights, scale, "sum_then_normalize")
    torch.testing.assert_close(grpo_advantages(rewards, 4, scale, weights), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("columns", [1, 3])
def test_gdpo_advantages_are_those_of_trl_normalising_before_the_sum(grpo_trainer, seed, columns):
    rewards, weights = reward_table(seed)[:, :columns], torch.tensor([1.0, 0.5, 2.0])[:columns]
    expected = trl_advantages(grpo_trainer, rewards, 4, weights, "group", "normalize_then_sum")
    torch.testing.assert_close(gdpo_advantages(rewards, 4, weights), expected, atol=2e-6, rtol=2e-6)
