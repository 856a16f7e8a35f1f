"""Rows with the same prompt, and an order of a generation batch that keeps them in the same micro-batch."""

from typing import Any

import torch
from trl.trainer.utils import split_tensor_dict


def prompt_groups(prompt_ids: torch.Tensor, prompt_mask: torch.Tensor) -> list[list[int]]:
    """Rows of [n, P] prompts with the same tokens, group by group in the order of their first rows."""
    rows = prompt_ids.masked_fill(prompt_mask == 0, -1).cpu().numpy()
    groups: dict[bytes, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.tobytes(), []).append(index)
    return list(groups.values())


def whole_groups(groups: list[list[int]], size: int) -> list[int]:
    """An order of all rows in which the borders of batches of `size` rows cut as few groups as will do.

    Every group goes whole into the first batch that has room for it; the rows of those that find none fill what is left.
    The number of rows is a multiple of `size`.
    """
    batches: list[list[int]] = [[] for _ in range(sum(map(len, groups)) // size)]
    cut: list[int] = []
    for group in groups:
        home = next((batch for batch in batches if len(batch) + len(group) <= size), cut)
        home.extend(group)
    for batch in batches:
        missing = size - len(batch)
        batch.extend(cut[:missing])
        del cut[:missing]
    return [row for batch in batches for row in batch]


def chunks(groups: list[list[int]], size: int) -> list[list[list[int]]]:
    """The groups in forward passes of at most `size` rows; only a group that is larger than that is cut."""
    passes: list[list[list[int]]] = []
    room = 0
    for group in groups:
        for start in range(0, len(group), size):
            part = group[start : start + size]
            if len(part) > room:
                passes.append([])
                room = size
            passes[-1].append(part)
            room -= len(part)
    return passes


def keep_groups_together(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The micro-batches of a shuffled generation batch, with the rows of a prompt in one of them where they fit.

    The groups keep the random order of their first rows, so that no random number is drawn beyond TRL's.
    """
    joined = {name: _join([batch[name] for batch in batches]) for name in batches[0]}
    groups = prompt_groups(joined["prompt_ids"], joined["prompt_mask"])
    order = whole_groups(groups, len(batches[0]["prompt_ids"]))
    return split_tensor_dict({name: _reorder(value, order) for name, value in joined.items()}, len(batches))


def _join(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(values) if first.dim() > 0 else first
    return first if first is None else [item for value in values for item in value]


def _reorder(value: Any, order: list[int]) -> Any:
    if isinstance(value, torch.Tensor):
        return value[order] if value.dim() > 0 else value
    return value if value is None else [value[row] for row in order]
