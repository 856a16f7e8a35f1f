"""Direct advantage (arXiv 2412.18279): how much better each candidate step is than its siblings."""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, as_bool, as_long, require_range
from ..groups import centre, require_rows, split_groups, zero_nan
from ..precision import as_full_float


class StepAdvantages(NamedTuple):
    """Advantage of each candidate step, and whether it belongs in the training set; [N] each."""

    advantages: torch.Tensor
    keep: torch.Tensor


def check_direct_advantage_gap(min_gap: float = 0.1) -> None:
    """Raise `ValueError` unless `min_gap` is at least 0."""
    require_range("min_gap", min_gap, 0.0, math.inf, high_open=True)


def direct_advantage_advantages(
    next_values: Numbers,
    num_candidates: int,
    rewards: Numbers | None = None,
    terminal: Numbers | None = None,
    action_ids: Numbers | None = None,
    min_gap: float = 0.1,
) -> StepAdvantages:
    r"""Advantage of each candidate step of a state, \( A_i = q_i - \frac1M \sum_j q_j \) (Eq. 13).

    \( q_i = V(s \circ a_i) \), or the true reward where the step ends the response. Repeated steps count in the mean,
    and only the first of them is kept; a state whose candidates hardly differ is not kept at all.

    Args:
        next_values: [N], critic's value after each candidate, states being consecutive runs of `num_candidates`; NaN
            where there is none (also in `rewards`): left out of the mean, not kept; detached.
        num_candidates: M, at least 1, a divisor of N.
        rewards: [N], reward of the response where the candidate is terminal; detached.
        terminal: [N], True where the candidate ends the response; together with `rewards`.
        action_ids: [N] integers, equal within a state where the steps are equal. None: all differ.
        min_gap: least difference between the best and the worst candidate of a kept state, at least 0.

    Returns:
        `StepAdvantages(advantages [N], keep [N] bool)`, without gradient. Fewer than two candidates with a value: not
        kept.

    Raises:
        ValueError: for another shape, incomplete states, `min_gap` below 0, or one of `rewards` and `terminal` alone.
    """
    check_direct_advantage_gap(min_gap)
    quality = as_full_float(next_values).detach()
    if quality.dim() != 1:
        raise ValueError(f"`next_values` has shape {list(quality.shape)}; expected [N].")
    if (rewards is None) != (terminal is None):
        missing = "rewards" if rewards is None else "terminal"
        raise ValueError(f"`{missing}` is None; `rewards` and `terminal` go together.")
    if rewards is not None and terminal is not None:
        reward, ends = as_full_float(rewards).detach(), as_bool(terminal)
        require_rows("rewards", reward, quality.shape)
        require_rows("terminal", ends, quality.shape)
        quality = torch.where(ends, reward.to(quality), quality)
    states = split_groups(quality, num_candidates, "next_values")
    valid = ~states.isnan()
    highest = states.masked_fill(~valid, -math.inf).amax(dim=1)
    lowest = states.masked_fill(~valid, math.inf).amin(dim=1)
    contrasted = (valid.sum(dim=1) >= 2) & (highest - lowest >= min_gap)
    keep = valid & contrasted[:, None]
    if action_ids is not None:
        ids = as_long(action_ids)
        require_rows("action_ids", ids, quality.shape)
        keep &= ~_repeats(split_groups(ids, num_candidates, "action_ids"), valid)
    return StepAdvantages(zero_nan(centre(states)).flatten(), keep.flatten())


def _repeats(ids: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """True where an earlier valid entry of the row has the same id, [M, K]."""
    same = (ids[:, :, None] == ids[:, None, :]) & valid[:, None, :]
    return same.tril(-1).any(dim=2)
