"""The plainest pair rule: the best of K scored responses against the worst."""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers
from ..precision import as_full_float


class PairIndices(NamedTuple):
    """Indices of the chosen and rejected response of each prompt, and whether they make a pair; [N] each."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    valid: torch.Tensor


def best_worst_pair(scores: Numbers) -> PairIndices:
    """Best and worst of the K scored responses to each prompt; ties go to the lowest index.

    Args:
        scores: [N, K], any scale; NaN marks a response that was not scored: it is left out.

    Returns:
        `PairIndices(chosen [N] int64, rejected [N] int64, valid [N] bool)`. `valid` is False where fewer than two
        responses were scored or all scores are equal: such a prompt gives no pair and its indices mean nothing.

    Raises:
        ValueError: if `scores` is not [N, K] with K at least 1.
    """
    scores = as_full_float(scores).detach()
    if scores.dim() != 2 or scores.shape[1] == 0:
        raise ValueError(
            f"`scores` has shape {list(scores.shape)}; expected [N, K]: K >= 1 responses to each of N prompts."
        )
    best = scores.masked_fill(scores.isnan(), -math.inf).max(-1)
    worst = scores.masked_fill(scores.isnan(), math.inf).min(-1)
    # With NaN left out, the largest exceeds the smallest only if two scored responses differ.
    return PairIndices(chosen=best.indices, rejected=worst.indices, valid=best.values > worst.values)
