"""DCPO (arXiv 2601.12730): GRPO's advantage mixed with REINFORCE under a tempered target distribution."""

import math

import torch

from ..arguments import Numbers, as_bool, as_float, require_range, require_same_shape
from ..groups import require_token_rows, sum_rewards
from ..policy.ratios import bounded_exp
from .grpo import grpo_advantages


def dcpo_coefficient(
    entropy: float, positive_rate: float, target_entropy: float = 0.25, max_gap: float = 0.1
) -> float:
    r"""Share α of the REINFORCE term, \( \alpha = \lambda / (1 + \lambda) \).

    \( \lambda = \min(|H_0 - H|, \lambda_{max}) / \hat p \), so that α grows with the distance from the target entropy and
    the regulariser is a mean over the positive samples.

    Args:
        entropy: H measured over the last update, in nats; finite.
        positive_rate: \( \hat p \), fraction of samples above the reward threshold, in [0, 1].
        target_entropy: \( H_0 \), at least 0, in nats.
        max_gap: \( \lambda_{max} \), at least 0, in nats.

    Returns:
        α in [0, 1); 0 without a positive sample.

    Raises:
        ValueError: for an argument outside its range, NaN included.
    """
    require_range("entropy", entropy, -math.inf, math.inf, low_open=True, high_open=True)
    require_range("positive_rate", positive_rate, 0.0, 1.0)
    require_range("target_entropy", target_entropy, 0.0, math.inf, high_open=True)
    require_range("max_gap", max_gap, 0.0)
    if positive_rate == 0:
        return 0.0
    gap = min(abs(target_entropy - float(entropy)), max_gap)
    return gap / (float(positive_rate) + gap)


def dcpo_advantages(
    rewards: Numbers,
    num_generations: int,
    old_logps: Numbers,
    target_logps: Numbers,
    mask: Numbers,
    coefficient: float,
    reward_threshold: float = 0.05,
    eps: float = 1e-6,
) -> torch.Tensor:
    r"""Advantage of each token, \( A'_{it} = (1-\alpha) A_i + \alpha \, 1[R_i > r_0] \, \rho_{it} \).

    \( \rho_{it} = \pi_{old}^T(o_{it}) / \pi_{old}(o_{it}) \) is the ratio of the tempered to the sampling distribution of
    the old policy on the same tokens.

    Args:
        rewards: [N] or [N, K] (summed), groups being consecutive runs of `num_generations` rows; NaN where a reward
            function gave none; detached.
        num_generations: G, at least 1, a divisor of N.
        old_logps, target_logps: [N, T] token log-probabilities in nats at temperature 1 and at the target temperature;
            detached.
        mask: [N, T], non-zero at the tokens that count.
        coefficient: α from `dcpo_coefficient`, in [0, 1).
        reward_threshold: \( r_0 \), a summed reward above it is positive; finite.
        eps: added to the standard deviation of the group, at least 0.

    Returns:
        [N, T] advantages without gradient, 0 where masked and in rows without any reward.

    Raises:
        ValueError: for another shape, incomplete groups or an argument outside its range.
    """
    require_range("coefficient", coefficient, 0.0, 1.0, high_open=True)
    require_range("reward_threshold", reward_threshold, -math.inf, math.inf, low_open=True, high_open=True)
    summed = sum_rewards(rewards)
    old, target, keep = as_float(old_logps).detach(), as_float(target_logps).detach(), as_bool(mask)
    require_token_rows("old_logps", old, len(summed))
    require_same_shape(old_logps=old, target_logps=target, mask=keep)
    group = grpo_advantages(summed, num_generations, eps=eps)
    target_ratio = bounded_exp(torch.where(keep, target - old, 0.0))
    positive = (summed > reward_threshold)[:, None]
    advantages = (1 - coefficient) * group[:, None] + torch.where(positive, coefficient * target_ratio, 0.0)
    return torch.where(keep, advantages, 0.0)
