"""Two-stage MPO's data selection (arXiv 2403.19443): easy pairs for DPO, hard ones for RL.

Mixed Preference Optimization in two stages, DPO and then RL with the DPO model as reference; not TRL's MPO, which mixes
three losses.
"""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, require_choice, require_range, require_same_shape
from ..precision import as_full_float


SELECTIONS = ("absolute", "signed")


class MPOSplit(NamedTuple):
    """Masks of the easy and the hard pairs of two-stage MPO and the reward gaps behind them; [N] each."""

    easy: torch.Tensor
    hard: torch.Tensor
    gap: torch.Tensor


def mpo_split(
    chosen_rewards: Numbers, rejected_rewards: Numbers, threshold: float, selection: str = "absolute"
) -> MPOSplit:
    r"""Split the pairs of two-stage MPO by the gap of their rewards: above the threshold is easy, the rest hard.

    Args:
        chosen_rewards, rejected_rewards: [N], scores of one reward model on its raw scale; detached.
        threshold: gamma, at least 0, in the units of the reward model; a gap equal to it is hard.
        selection: `"absolute"` takes \( |r_w - r_l| \); `"signed"` takes \( r_w - r_l \), so that a pair which the
            reward model ranks against its label is never easy.

    Returns:
        `MPOSplit(easy [N] bool, hard [N] bool, gap [N])`; a pair whose gap is NaN is in neither set.

    Raises:
        ValueError: if `threshold` is negative or NaN, `selection` is unknown or the shapes differ.
    """
    require_range("threshold", threshold, 0.0)
    require_choice("selection", selection, SELECTIONS)
    chosen, rejected = as_full_float(chosen_rewards).detach(), as_full_float(rejected_rewards).detach()
    require_same_shape(chosen_rewards=chosen, rejected_rewards=rejected)
    gap = chosen - rejected if selection == "signed" else (chosen - rejected).abs()
    return MPOSplit(easy=gap > threshold, hard=gap <= threshold, gap=gap)


def mpo_threshold(gaps: Numbers, easy_fraction: float = 0.5) -> float:
    r"""Threshold of `mpo_split` at which a given share of the pairs is easy in two-stage MPO.

    The k-th smallest of the n finite gaps, \( k = n - \lfloor \text{easy\_fraction} \cdot n \rfloor \): at most that
    share lies above it, and exactly that share if no gaps are equal.

    Args:
        gaps: [N], reward gaps; those that are not finite are left out.
        easy_fraction: share of easy pairs, in (0, 1).

    Returns:
        The threshold, in the units of the gaps.

    Raises:
        ValueError: if `easy_fraction` lies outside (0, 1) or no gap is finite.
    """
    require_range("easy_fraction", easy_fraction, 0.0, 1.0, low_open=True, high_open=True)
    gaps = as_full_float(gaps).detach()
    finite = gaps[gaps.isfinite()].sort().values
    if len(finite) == 0:
        raise ValueError(f"`gaps` holds no finite number among {gaps.numel()}; score the pairs first.")
    rank = len(finite) - math.floor(easy_fraction * len(finite))
    return float(finite[rank - 1])
