"""GRPO (arXiv 2402.03300): rewards centred on their group and divided by a standard deviation."""

import torch

from ..arguments import Numbers, require_choice, require_range
from ..groups import centre, group_std, nan_std, split_groups, sum_rewards, zero_nan


SCALE_REWARDS = ("group", "batch", "none")


def grpo_advantages(
    rewards: Numbers,
    num_generations: int,
    scale_rewards: str = "group",
    reward_weights: Numbers | None = None,
    eps: float = 1e-4,
) -> torch.Tensor:
    r"""Advantage of each completion within its group, \( A_i = (r_i - \bar r) / (\sigma + \epsilon) \).

    \( r_i = \sum_k w_k R_{ik} \), leaving NaN out; the mean is always that of the group. \( \sigma \) is unbiased and that
    of the group (`"group"`), of r over the whole batch (`"batch"`), or nothing divides (`"none"`). The same as
    `trl.GRPOTrainer` with `sum_then_normalize`.

    Args:
        rewards: [N] or [N, K], groups being consecutive runs of `num_generations` rows; NaN where a reward function gave
            none; detached.
        num_generations: G, at least 1, a divisor of N.
        scale_rewards: `"group"`, `"batch"` or `"none"`.
        reward_weights: K finite numbers, all 1 by default.
        eps: added to the standard deviation, at least 0, in units of the reward.

    Returns:
        [N] advantages without gradient, 0 for a row without any reward, for a row that is the only valid one of its
        group, and in groups of equal rewards.

    Raises:
        ValueError: for an unknown `scale_rewards`, another shape, incomplete groups or a wrong number of weights.
    """
    require_choice("scale_rewards", scale_rewards, SCALE_REWARDS)
    require_range("eps", eps, 0.0)
    summed = sum_rewards(rewards, reward_weights)
    groups = split_groups(summed, num_generations)
    advantages = centre(groups)
    if scale_rewards == "group":
        advantages = advantages / (group_std(groups) + eps)
    elif scale_rewards == "batch":
        advantages = advantages / (nan_std(summed, dim=0) + eps)
    return zero_nan(advantages).flatten()
