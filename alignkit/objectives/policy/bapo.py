"""BAPO (arXiv 2510.18927): clip bounds moved until positive tokens hold a given share of the loss.

The search runs on sums (`bapo_contributions`), so that ranks can add theirs up before `bapo_search` and agree.
"""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, as_float, require_choice, require_range
from .ratios import bounded_exp, clipped_surrogate, token_inputs


LOG_RATIO_LIMIT = 20.0
ORDERS = ("high_first", "low_first")
CONTRIBUTIONS = ("surrogate", "active")


class ClipBounds(NamedTuple):
    """Bounds of the ratio and the share of the positive tokens at them."""

    low: float
    high: float
    positive_share: float


class Contributions(NamedTuple):
    """Summed loss magnitudes in float64: of the positive tokens for each upper bound, of the negative for each lower."""

    positive: torch.Tensor
    negative: torch.Tensor


def check_bapo(
    target: float = 0.4,
    low_start: float = 0.6,
    low_max: float = 0.9,
    low_step: float = 0.02,
    high_start: float = 1.2,
    high_max: float = 3.0,
    high_step: float = 0.05,
    order: str = "high_first",
    contribution: str = "surrogate",
) -> None:
    """Raise `ValueError` for a target outside [0, 1), ranges not around a ratio of 1, steps not above 0 or names."""
    require_range("target", target, 0.0, 1.0, high_open=True)
    require_range("low_max", low_max, 0.0, 1.0)
    require_range("low_start", low_start, 0.0, low_max)
    require_range("low_step", low_step, 0.0, math.inf, low_open=True, high_open=True)
    require_range("high_start", high_start, 1.0, math.inf, high_open=True)
    require_range("high_max", high_max, high_start, math.inf, high_open=True)
    require_range("high_step", high_step, 0.0, math.inf, low_open=True, high_open=True)
    require_choice("order", order, ORDERS)
    require_choice("contribution", contribution, CONTRIBUTIONS)


def bapo_grid(start: float, stop: float, step: float) -> list[float]:
    """Bounds `start` + n·`step` up to `stop`; a last partial step is not made."""
    # Products, not repeated sums, and a tolerance: 0.9 must be reached from 0.6 in 15 steps of 0.02.
    return [start + n * step for n in range(math.floor((stop - start) / step + 1e-9) + 1)]


def bapo_contributions(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    lows: list[float],
    highs: list[float],
    contribution: str = "surrogate",
) -> Contributions:
    r"""Sums of the tokens' loss magnitudes at each candidate bound.

    `"surrogate"`: \( \min(r, c_{high}) A \) for A > 0 and \( \max(r, c_{low}) |A| \) for A < 0, the terms of Eq. 8.
    `"active"`: r·|A| of the tokens that the bound leaves a gradient: A > 0 with \( r < c_{high} \), A < 0 with
    \( r > c_{low} \).

    Args:
        logps, old_logps, advantages, mask: see `bapo_loss`; all detached.
        lows, highs: candidate bounds of the ratio.
        contribution: `"surrogate"` or `"active"`.

    Returns:
        `Contributions(positive [len(highs)], negative [len(lows)])`, to be summed over micro-batches and ranks.

    Raises:
        ValueError: for other shapes or an unknown contribution.
    """
    require_choice("contribution", contribution, CONTRIBUTIONS)
    inputs = token_inputs(as_float(logps).detach(), old_logps, advantages, mask)
    ratio = bounded_exp(inputs.log_ratio.double(), LOG_RATIO_LIMIT)
    size = inputs.advantages.double().abs()
    above, below = inputs.advantages > 0, inputs.advantages < 0
    gains, pains = ratio[above], ratio[below]

    def positive(high: float) -> torch.Tensor:
        kept = gains.clamp(max=high) if contribution == "surrogate" else torch.where(gains < high, gains, 0.0)
        return (kept * size[above]).sum()

    def negative(low: float) -> torch.Tensor:
        kept = pains.clamp(min=low) if contribution == "surrogate" else torch.where(pains > low, pains, 0.0)
        return (kept * size[below]).sum()

    return Contributions(torch.stack([positive(high) for high in highs]), torch.stack([negative(low) for low in lows]))


def bapo_search(
    contributions: Contributions,
    lows: list[float],
    highs: list[float],
    target: float = 0.4,
    order: str = "high_first",
) -> ClipBounds:
    """Move the bounds along their grids until the positive share reaches `target` or both stand at their end.

    Args:
        contributions: sums at each bound of the two grids, over the whole update batch.
        lows, highs: the grids, ascending.
        target: share to reach, in [0, 1).
        order: `"high_first"` (Algorithm 1) or `"low_first"` (released code): which bound moves while it can.

    Returns:
        `ClipBounds`; a share of 1 when nothing contributes.

    Raises:
        ValueError: for an unknown order or a target outside its range.
    """
    require_range("target", target, 0.0, 1.0, high_open=True)
    require_choice("order", order, ORDERS)
    positive, negative = contributions.positive.tolist(), contributions.negative.tolist()
    low, high = 0, 0

    def share() -> float:
        total = positive[high] + negative[low]
        return positive[high] / total if total > 0 else 1.0

    while share() < target and (low + 1 < len(lows) or high + 1 < len(highs)):
        high_moves = high + 1 < len(highs) and (order == "high_first" or low + 1 == len(lows))
        low, high = (low, high + 1) if high_moves else (low + 1, high)
    return ClipBounds(lows[low], highs[high], share())


def bapo_positive_share(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    low: float,
    high: float,
    contribution: str = "surrogate",
) -> float:
    r"""Share of the positive tokens in the loss, \( pos / (pos + neg) \), at the bounds `low` and `high` (Eq. 8).

    Each token counts once: the sampling probability in Eq. 8 is already in the sample.

    Args:
        logps, old_logps, advantages, mask, low, high: see `bapo_loss`; all detached.
        contribution: see `bapo_contributions`.

    Returns:
        The share in [0, 1]; 1 when there is no negative token or nothing at all.

    Raises:
        ValueError: for other shapes, bounds that do not satisfy 0 <= low <= 1 <= high, or an unknown contribution.
    """
    low, high = _check_bounds(low, high)
    sums = bapo_contributions(logps, old_logps, advantages, mask, [low], [high], contribution)
    return bapo_search(sums, [low], [high], target=0.0).positive_share


def bapo_clip_bounds(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    target: float = 0.4,
    low_start: float = 0.6,
    low_max: float = 0.9,
    low_step: float = 0.02,
    high_start: float = 1.2,
    high_max: float = 3.0,
    high_step: float = 0.05,
    order: str = "high_first",
    contribution: str = "surrogate",
) -> ClipBounds:
    """Bounds of the ratio at which positive tokens hold at least `target` of the loss (Algorithm 1).

    Args:
        logps, old_logps, advantages, mask: see `bapo_loss`, of the whole update batch; all detached.
        target: share to reach, in [0, 1).
        low_start, low_max, low_step: range of the lower bound, 0 <= start <= max <= 1, and its step, above 0.
        high_start, high_max, high_step: range of the upper bound, 1 <= start <= max, and its step, above 0.
        order: `"high_first"` or `"low_first"`.
        contribution: `"surrogate"` (as published; raising the lower bound can then only lower the share) or `"active"`.

    Returns:
        `ClipBounds(low, high, positive_share)`, numbers.

    Raises:
        ValueError: for other shapes or an argument outside its range.
    """
    check_bapo(target, low_start, low_max, low_step, high_start, high_max, high_step, order, contribution)
    lows, highs = bapo_grid(low_start, low_max, low_step), bapo_grid(high_start, high_max, high_step)
    sums = bapo_contributions(logps, old_logps, advantages, mask, lows, highs, contribution)
    return bapo_search(sums, lows, highs, target, order)


def bapo_loss(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    low: float,
    high: float,
    dual_clip: float | None = None,
) -> torch.Tensor:
    r"""Loss of each token, \( -\min(r A, \mathrm{clip}(r, c_{low}, c_{high}) A) \); the log-ratio is clamped to ±20.

    Args:
        logps: [N, T] token log-probabilities under the policy in nats, with gradient.
        old_logps: [N, T], the same under the policy that sampled; detached. None: exactly on-policy.
        advantages: [N] or [N, T]; detached.
        mask: [N, T], non-zero at the tokens that count.
        low, high: bounds of the ratio (not epsilons), 0 <= low <= 1 <= high.
        dual_clip: c, above 1: the loss of a negative advantage is at most c·|A|; or None.

    Returns:
        [N, T] losses, exactly 0 where masked.

    Raises:
        ValueError: for other shapes or an argument outside its range.
    """
    low, high = _check_bounds(low, high)
    inputs = token_inputs(logps, old_logps, advantages, mask)
    return clipped_surrogate(bounded_exp(inputs.log_ratio, LOG_RATIO_LIMIT), inputs.advantages, low, high, dual_clip)


def _check_bounds(low: float, high: float) -> tuple[float, float]:
    require_range("low", float(low), 0.0, 1.0)
    require_range("high", float(high), 1.0)
    return float(low), float(high)
