"""Which form a batch is computed in: the rule that was measured, in numbers of tokens."""

import math

import torch

from .packing import Batch


__all__ = ["choose_form", "is_too_small", "scores_nearly_all"]

# Below this share of saved tokens the padded rows are kept.
WORTH = 0.05

# Below this many tokens of a padded batch, planning costs more than sharing saves.
SMALL = 128

# Above this share of scored tokens, handing on the scored places alone saves the LM head nothing.
NEARLY_ALL = 0.8


def is_too_small(input_ids: torch.Tensor, mode: str) -> bool:
    """Whether a padded batch is left alone before it is looked at; never where a form was asked for."""
    return mode == "auto" and input_ids.numel() < SMALL


def scores_nearly_all(labels: torch.Tensor) -> bool:
    """Whether padded rows are best left to TRL's head, which scores every place on a CPU."""
    return int((labels != -100).sum()) > NEARLY_ALL * labels.numel()


def choose_form(batch: Batch, mode: str, on_cpu: bool = True) -> str:
    """`"mask"`, `"grouped"` or `"plain"` (padded rows) for one batch.

    Padded rows cost G (P + C)^2 attention pairs, the dense mask (P + G C)^2, the grouped form P^2 + G C (P + C): counted
    in pairs the mask is ahead of padded rows where P > sqrt(G) C. Under `"auto"` the mask is taken there on an
    accelerator, whose kernels like few large calls, and the grouped form elsewhere. On a CPU the grouped form was as fast
    or faster at every shape that was measured, since its row has no padding and its calls cost little; it is taken
    throughout. Padded rows are kept where neither saves tokens.

    Args:
        batch: the batch as [`read_batch`] read it.
        mode: `"auto"`, or the form that was asked for.
        on_cpu: whether the model computes on a CPU.
    """
    if mode != "auto":
        return mode
    shared = sum(batch.shared_length(group) for group in batch.groups)
    if shared > (1 - WORTH) * batch.shape[0] * batch.shape[1]:
        return "plain"
    if not on_cpu and all(_prefers_mask(batch, group) for group in batch.groups):
        return "mask"
    return "grouped"


def _prefers_mask(batch: Batch, group: list[int]) -> bool:
    prompt = int(batch.prompts[group[0]])
    completions = max(batch.length(row) - prompt for row in group)
    return prompt > math.sqrt(len(group)) * completions
