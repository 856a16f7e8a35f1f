"""CGPO (arXiv 2409.20370): rewards calibrated against a baseline answer, 0 where a judge finds a violation."""

import math

import torch

from ..arguments import Numbers, require_range, require_same_shape
from ..groups import as_rewards
from ..judgements import join_judges
from ..precision import as_full_float


def check_cgpo_kl_max(kl_max: float) -> None:
    """Raise `ValueError` unless the limit of the sequence's log-ratio is above 0."""
    require_range("kl_max", kl_max, 0.0, low_open=True)


def cgpo_constrained_reward(rewards: Numbers, baseline_rewards: Numbers, satisfied: Numbers) -> torch.Tensor:
    r"""Calibrated reward \( \sigma(r(x, y) - r(x, \bar y)) \) (Eq. 5), and 0 where a judge is not satisfied.

    0.5 is as good as the baseline answer; a constant on the rewards of one prompt changes nothing.

    Args:
        rewards: [N], r of each completion; NaN where there is none; detached.
        baseline_rewards: [N], r of the baseline answer to the same prompt; detached.
        satisfied: [N] or [N, M] verdicts of M judges, all of which must be satisfied; NaN where a judge failed.

    Returns:
        [N] rewards in [0, 1] without gradient, exactly 0 where a judge finds a violation; else NaN where a reward is
        missing or a judge failed.

    Raises:
        ValueError: for another shape.
    """
    reward = as_full_float(as_rewards(rewards, max_dim=1))
    baseline = as_full_float(baseline_rewards).detach()
    require_same_shape(rewards=reward, baseline_rewards=baseline)
    verdicts = join_judges(satisfied, len(reward))
    calibrated = torch.where(verdicts.satisfied, torch.sigmoid(reward - baseline), math.nan)
    return calibrated.masked_fill(verdicts.violated, 0.0)
