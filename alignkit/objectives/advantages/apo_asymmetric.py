"""Asymmetric Policy Optimization (arXiv 2506.21655): over-long failures pushed harder, hard successes held less."""

import math

import torch

from ..arguments import Numbers, as_float, require_range
from ..groups import as_rewards, require_rows, split_groups
from .grpo import grpo_advantages


def check_apo_asymmetric(stcr_base: float = 1.00001, correct_threshold: float = 1.0, beta: float = 0.001) -> None:
    """Raise `ValueError` for `stcr_base` below 1, a threshold that is not finite or `beta` below 0."""
    require_range("stcr_base", stcr_base, 1.0, math.inf, high_open=True)
    require_range("correct_threshold", correct_threshold, -math.inf, math.inf, low_open=True, high_open=True)
    require_range("beta", beta, 0.0, math.inf, high_open=True)


def apo_asymmetric_advantages(
    rewards: Numbers,
    num_generations: int,
    lengths: Numbers,
    correct_threshold: float = 1.0,
    stcr_base: float = 1.00001,
    eps: float = 1e-4,
    correctness: Numbers | None = None,
) -> torch.Tensor:
    r"""GRPO advantages with those of over-long incorrect samples enlarged (STCR).

    \( A_i \leftarrow n_i A_i \), \( n_i = 2 - c^{-\Delta_i} \), where \( \Delta_i > 0 \) is the length of sample i beyond
    the mean length of the correct ones of its group, for samples that are incorrect, over-long and have A < 0; else, and
    in groups without a correct sample, \( n_i = 1 \). A group's advantages then no longer sum to 0: do not re-centre.

    Args:
        rewards: [N], groups being consecutive runs of `num_generations` rows; NaN rewards are neither correct nor
            incorrect; detached.
        num_generations: G, at least 1, a divisor of N.
        lengths: [N] completion lengths in tokens.
        correct_threshold: a reward (in `correctness`, where given) of at least this is correct; finite.
        stcr_base: c, at least 1; 1 turns the factor off. With the released 1.00001 it is 1.01 at 1000 excess tokens.
        eps: see `grpo_advantages`.
        correctness: [N] rewards that tell what is correct, where `rewards` are sums of several; NaN: neither.

    Returns:
        [N] advantages without gradient.

    Raises:
        ValueError: for another shape, incomplete groups or an argument outside its range.
    """
    check_apo_asymmetric(stcr_base, correct_threshold)
    values = as_rewards(rewards, max_dim=1)
    sizes = as_float(lengths).detach().to(values)
    require_rows("lengths", sizes, values.shape)
    groups, sizes = split_groups(values, num_generations), split_groups(sizes, num_generations, "lengths")
    judged = _judged(values, correctness).view_as(groups)
    correct = judged >= correct_threshold
    mean_correct = torch.where(correct, sizes, 0.0).sum(dim=1) / correct.sum(dim=1)
    excess = sizes - mean_correct[:, None]
    advantages = grpo_advantages(values, num_generations, eps=eps).view_as(groups)
    # Without a correct sample the mean is 0/0, so that no excess compares as positive.
    punished = (judged < correct_threshold) & (excess > 0) & (advantages < 0)
    # expm1, because the excess of the factor over 1 is about 1e-5 per token.
    factor = 1 - torch.expm1(-excess * math.log(stcr_base))
    return (torch.where(punished, factor, 1.0) * advantages).flatten()


def apo_asymmetric_kl_weights(
    rewards: Numbers,
    num_generations: int,
    correct_threshold: float = 1.0,
    eps: float = 1e-4,
    correctness: Numbers | None = None,
) -> torch.Tensor:
    r"""Weight of each sample's KL term (DADS), small for the positive samples of hard prompts.

    \( f(d) = 1 - e^{-e (1 - d)} \) with difficulty \( d = 1 - \#correct / \#valid \) in (0, 1) for samples with A > 0; 1
    for all others.

    Args: as `apo_asymmetric_advantages`.

    Returns:
        [N] weights in (0, 1], without gradient.

    Raises:
        ValueError: for another shape, incomplete groups or an argument outside its range.
    """
    check_apo_asymmetric(correct_threshold=correct_threshold)
    values = as_rewards(rewards, max_dim=1)
    groups = split_groups(values, num_generations)
    judged = _judged(values, correctness).view_as(groups)
    correct = (judged >= correct_threshold).sum(dim=1, keepdim=True)
    valid = (~judged.isnan()).sum(dim=1, keepdim=True)
    pass_rate = correct.to(values) / valid.clamp(min=1)
    positive = grpo_advantages(values, num_generations, eps=eps).view_as(groups) > 0
    weighted = positive & (correct > 0) & (correct < valid)
    return torch.where(weighted, -torch.expm1(-math.e * pass_rate), 1.0).to(values).flatten()


def _judged(rewards: torch.Tensor, correctness: Numbers | None) -> torch.Tensor:
    """The rewards [N] that tell what is correct; NaN wherever the reward itself is missing."""
    if correctness is None:
        return rewards
    judged = as_float(correctness).detach().to(rewards)
    require_rows("correctness", judged, rewards.shape)
    return judged.masked_fill(rewards.isnan(), torch.nan)
