"""From token losses to one number: the five reductions that TRL offers, by TRL's names."""

import torch

from ..arguments import Numbers, as_bool, as_float, require_choice, require_range, require_same_shape
from .ratios import masked


AGGREGATIONS = ("grpo", "bnpo", "dapo", "dr_grpo", "luspo")


def aggregate(
    per_token_loss: Numbers,
    mask: Numbers,
    how: str,
    max_completion_length: int | None = None,
    num_items_in_batch: Numbers | None = None,
) -> torch.Tensor:
    r"""Reduce token losses x with mask m over N rows.

    `"grpo"`: mean over rows of \( \sum_t x m / \max(\sum_t m, 1) \), an empty row counting as 0. `"bnpo"`:
    \( \sum x m / \max(\sum m, 1) \). `"dapo"`: \( \sum x m / \max(n, 1) \), n being `num_items_in_batch`, by default
    \( \sum m \). `"dr_grpo"`: \( \sum x m / (N \cdot T_{max}) \). `"luspo"`: mean over rows of \( \sum_t x m \).

    Args:
        per_token_loss: [N, T], with gradient.
        mask: [N, T], non-zero at the tokens that count.
        how: `"grpo"`, `"bnpo"`, `"dapo"`, `"dr_grpo"` or `"luspo"`.
        max_completion_length: \( T_{max} \), at least 1; required by `"dr_grpo"`.
        num_items_in_batch: tokens of the whole accumulation window, at least 0; `"dapo"` only.

    Returns:
        The loss, a scalar; 0 when everything is masked.

    Raises:
        ValueError: for an unknown `how`, a missing or wrong constant, or shapes that differ.
    """
    require_choice("how", how, AGGREGATIONS)
    losses, keep = as_float(per_token_loss), as_bool(mask)
    require_same_shape(per_token_loss=losses, mask=keep)
    losses = masked(losses, keep)
    rows = max(len(losses), 1)
    if how == "grpo":
        return (losses.sum(dim=1) / keep.sum(dim=1).clamp(min=1)).sum() / rows
    if how == "luspo":
        return losses.sum() / rows
    if how == "dr_grpo":
        if max_completion_length is None:
            raise ValueError("`max_completion_length` is None; the aggregation 'dr_grpo' needs it, at least 1.")
        require_range("max_completion_length", max_completion_length, 1)
        return losses.sum() / (rows * max_completion_length)
    if how == "bnpo" or num_items_in_batch is None:
        return losses.sum() / keep.sum().clamp(min=1)
    items = torch.as_tensor(num_items_in_batch, device=losses.device)
    require_range("num_items_in_batch", items.item(), 0)
    return losses.sum() / items.clamp(min=1)
