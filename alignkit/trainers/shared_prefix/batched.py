"""The grouped attention in two calls whatever the number of segments, for devices where every call has its price.

The loop of `grouped.py` makes one call per segment and layer, which a GPU spends launching. Here all prompts, each with its
first segment, are one padded batch of causal sequences, and all further segments one padded batch of queries on
[prompt | segment]. Only attention is padded, and never to more pairs than TRL's padded rows have.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention


__all__ = ["attend_in_batches"]

ALIGNED = 8  # keys of a masked call are padded to a multiple of this, or the kernel copies the mask at every layer


class Batches(NamedTuple):
    """Where the tokens of the row go, and back.

    Attributes:
        causal: [N, n], places in the row of every prompt with its first segment, padded on the right with place 0.
        queries, keys: [S, q] and [S, k], places of every further segment and of its prompt and itself.
        prompts: [S], tokens of the prompts of `queries`.
        back: [L], for each place of the row its place in the flattened outputs, `causal` first.
    """

    causal: torch.Tensor
    queries: torch.Tensor
    keys: torch.Tensor
    prompts: torch.Tensor
    back: torch.Tensor


def attend_in_batches(
    plan: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float | None, window: int | None
) -> torch.Tensor:
    """Attention [1, H, L, D] of every group of the row; the same numbers as one call per segment.

    Args:
        plan: with the `spans` of the row, and `kept`, a dict that keeps for the other layers what does not change.
        query, key, value: [1, H, L, D].
        window: sliding window in tokens, or `None`.
    """
    if "batches" not in plan.kept:
        plan.kept["batches"] = _batches(plan.spans, query.device)
    batches: Batches = plan.kept["batches"]
    q, k, v = (_taken(item, batches.causal) for item in (query, key, value))
    width = q.shape[2]
    if window is None or width <= window:
        outputs = [scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)]
    else:
        mask = _mask(plan, "causal", batches.prompts.new_zeros(1), width, width, window, query)
        outputs = [scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)]
    if len(batches.queries):
        q, k, v = _taken(query, batches.queries), _taken(key, batches.keys), _taken(value, batches.keys)
        mask = _mask(plan, "segments", batches.prompts, q.shape[2], k.shape[2], window, query)
        outputs.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale))
    flat = torch.cat([item.transpose(0, 1).flatten(1, 2) for item in outputs], dim=1)  # [H, places, D]
    return flat.index_select(1, batches.back)[None]


def _taken(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """[1, H, L, D] at places [N, n]: [N, H, n, D]."""
    taken = states[0].index_select(1, places.reshape(-1))
    return taken.view(taken.shape[0], *places.shape, taken.shape[2]).transpose(0, 1)


def _mask(
    plan: Any, name: str, prompts: torch.Tensor, queries: int, keys: int, window: int | None, like: torch.Tensor
) -> torch.Tensor:
    """Additive mask [S, 1, queries, keys]: query i of a segment behind p tokens sees the keys up to p + i.

    Padding keys lie behind every real query, and what padding queries see is dropped.
    """
    known = (name, window, like.dtype)
    if known not in plan.kept:
        places = torch.arange(keys, device=like.device)
        distance = prompts[:, None, None] + torch.arange(queries, device=like.device)[:, None] - places
        allowed = distance >= 0
        if window is not None:
            allowed &= distance < window
            allowed[..., 0] |= ~allowed.any(
                dim=-1
            )  # padding queries far behind the last key; without one they are NaN
        mask = torch.zeros(allowed.shape, dtype=like.dtype, device=like.device)
        plan.kept[known] = mask.masked_fill_(~allowed, float("-inf"))[:, None]
    return plan.kept[known]


def _batches(spans: list[tuple[int, list[int]]], device: torch.device) -> Batches:
    causal, queries, keys, prompts = [], [], [], []
    start = 0
    for prompt, segments in spans:
        first = start + prompt + segments[0]
        causal.append(np.arange(start, first))
        place = first
        for segment in segments[1:]:
            own = np.arange(place, place + segment)
            queries.append(own)
            keys.append(np.concatenate([np.arange(start, start + prompt), own]))
            prompts.append(prompt)
            place += segment
        start = place
    back: np.ndarray = np.zeros(start, np.int64)
    offset = 0
    for sequences in (causal, queries):
        width = max(map(len, sequences), default=0)
        for number, sequence in enumerate(sequences):
            back[sequence] = offset + number * width + np.arange(len(sequence))
        offset += len(sequences) * width
    tables = (_table(causal), _table(queries), _table(keys, ALIGNED), np.array(prompts, np.int64), back)
    return Batches(*(torch.from_numpy(table).to(device) for table in tables))


def _table(sequences: list[np.ndarray], multiple: int = 1) -> np.ndarray:
    """The sequences as rows, padded on the right with 0."""
    width = -(-max(map(len, sequences), default=0) // multiple) * multiple
    table: np.ndarray = np.zeros((len(sequences), width), np.int64)
    for row, sequence in zip(table, sequences, strict=True):
        row[: len(sequence)] = sequence
    return table
