"""COPO (arXiv 2508.04138): a between-prompt advantage beside GRPO's, gated by how much the answers agree."""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, as_long, require_range
from ..groups import as_rewards, per_prompt_to_rows, require_rows, split_groups, standardise, zero_nan
from .grpo import grpo_advantages


class CopoAdvantages(NamedTuple):
    """The two advantages [N], the weight of the local loss [N] and the answer entropy of each prompt [M] in bits."""

    local_advantages: torch.Tensor
    global_advantages: torch.Tensor
    local_weight: torch.Tensor
    entropy: torch.Tensor


def check_copo(gamma: float = 20.0, rho: float = 1.5) -> None:
    """Raise `ValueError` unless both are finite and at least 0."""
    require_range("gamma", gamma, 0.0, math.inf, high_open=True)
    require_range("rho", rho, 0.0, math.inf, high_open=True)


def copo_advantages(
    rewards: Numbers,
    num_generations: int,
    answer_ids: Numbers,
    gamma: float = 20.0,
    rho: float = 1.5,
    consistency_reward: bool = False,
    zero_reward_global: bool = False,
    eps: float = 1e-4,
) -> CopoAdvantages:
    r"""Local and global advantages with the weight \( w = \sigma(\gamma (H - \rho)) \) that blends their losses.

    Local: GRPO's. Global: \( \tilde A_j = (R_j - \bar R) / (\sigma_R + \epsilon) \) over the prompts of the batch, with
    \( R_j = c_j \, \bar r_j \). \( H_j = -\sum_\tau p_j(\tau) \log_2 p_j(\tau) \) is the entropy of the final answers of
    prompt j in bits: answers that disagree use the local loss, answers that agree the global one.

    Args:
        rewards: [N], groups being consecutive runs of `num_generations` rows; NaN where none was given; detached.
        num_generations: G, at least 1, a divisor of N.
        answer_ids: int [N], equal ids for equal answers within a prompt.
        gamma: steepness of the gate, at least 0, per bit.
        rho: entropy at which the two losses weigh the same, at least 0, in bits; meaningful below log2 G.
        consistency_reward: use \( c_j = 1 - H_j (1 - 1/G) / \log_2 G \) (1/G when all answers differ) instead of 1.
        zero_reward_global: set w to 0 for every response whose reward is exactly 0.
        eps: added to both (unbiased) standard deviations, at least 0.

    Returns:
        `CopoAdvantages`, without gradient. A NaN reward is left out of means, frequencies and statistics and has both
        advantages 0; a prompt without any reward is left out, with H = 0; with fewer than two prompts left the global
        advantages are 0.

    Raises:
        ValueError: for another shape, incomplete groups, or `gamma` or `rho` outside its range.
    """
    check_copo(gamma, rho)
    values = as_rewards(rewards, max_dim=1)
    ids = as_long(answer_ids).to(values.device)
    require_rows("answer_ids", ids, values.shape)
    groups = split_groups(values, num_generations)
    entropy = _answer_entropy(split_groups(ids, num_generations, "answer_ids"), ~groups.isnan()).to(values)
    prompt_rewards = groups.nanmean(dim=1)
    if consistency_reward and num_generations > 1:
        prompt_rewards = prompt_rewards * (1 - entropy * (1 - 1 / num_generations) / math.log2(num_generations))
    global_advantages = per_prompt_to_rows(zero_nan(standardise(prompt_rewards[None], eps))[0], num_generations)
    weight = per_prompt_to_rows(torch.sigmoid(gamma * (entropy - rho)), num_generations)
    return CopoAdvantages(
        local_advantages=grpo_advantages(values, num_generations, eps=eps),
        global_advantages=torch.where(values.isnan(), 0.0, global_advantages),
        local_weight=torch.where(values == 0, 0.0, weight) if zero_reward_global else weight,
        entropy=entropy,
    )


def _answer_entropy(ids: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Entropy in bits of the valid answers of each prompt, [M] from [M, G]; 0 where none is valid."""
    same = (ids[:, :, None] == ids[:, None, :]) & valid[:, :, None] & valid[:, None, :]
    count = valid.sum(dim=1, keepdim=True).clamp(min=1).double()
    # Mean over the responses of -log2 of their own answer's frequency: the sum over distinct answers, without listing them.
    frequency = torch.where(valid, same.sum(dim=2) / count, 1.0)
    return (-torch.log2(frequency) / count).sum(dim=1).clamp(min=0.0)
