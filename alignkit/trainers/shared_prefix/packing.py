"""From a padded batch to rows without repeated prompts and without padding, and back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from .rows import PROMPT, SEGMENTS_PER_MEMBER


__all__ = ["Batch", "Layout", "Scores", "fit", "lay_out", "padded_scores", "read_batch"]


class Batch(NamedTuple):
    """What the lengths of a padded batch of R rows of width T say, on the host.

    Attributes:
        shape: (R, T).
        real: [number of real tokens], place of every real token in the flattened batch, row after row.
        offsets: [R + 1], where each row's tokens begin in `real`.
        prompts: [R], number of real tokens before the first scored one (all of them where none is scored).
        scored: [R * T] bool, whether the token of that place is scored.
        groups: rows with the same prompt, in the order in which they appear.
    """

    shape: tuple[int, int]
    real: np.ndarray
    offsets: np.ndarray
    prompts: np.ndarray
    scored: np.ndarray
    groups: list[list[int]]

    def length(self, row: int) -> int:
        """Number of real tokens of a row."""
        return int(self.offsets[row + 1] - self.offsets[row])

    def shared_length(self, group: Sequence[int]) -> int:
        """Number of tokens of a group whose prompt stands once."""
        prompt = int(self.prompts[group[0]])
        return prompt - 1 + sum(self.length(row) - prompt + 1 for row in group)


def read_batch(input_ids: torch.Tensor, attention_mask: torch.Tensor | None, labels: torch.Tensor) -> Batch | None:
    """Read lengths and groups off a padded batch; `None` for a batch whose prompts cannot be told from its labels.

    The prompt of a row is what stands before its first label. Rows belong together when these tokens are the same, so
    prompts that were cut differently simply do not share.

    Args:
        input_ids, attention_mask, labels: [R, T]; labels are -100 where nothing is scored.
    """
    ids, valid = input_ids.cpu().numpy(), labels.cpu().numpy() != -100
    mask = np.ones(ids.shape, bool) if attention_mask is None else attention_mask.cpu().numpy().astype(bool)
    valid[:, 0] = False  # nothing stands before the first token that could score it
    if not valid.any() or (valid & ~mask).any():
        return None
    lengths = mask.sum(axis=1)
    first = np.where(valid.any(axis=1), valid.argmax(axis=1), ids.shape[1])
    prompts = (mask & (np.arange(ids.shape[1]) < first[:, None])).sum(axis=1)
    if ((prompts == 0) & (lengths > 0)).any():
        return None
    real = np.flatnonzero(mask)
    offsets = np.concatenate([[0], lengths.cumsum()])
    tokens = ids.reshape(-1)[real]
    groups: dict[bytes, list[int]] = {}
    for row in range(ids.shape[0]):
        if lengths[row]:
            prompt = tokens[offsets[row] : offsets[row] + prompts[row]]
            groups.setdefault(prompt.tobytes(), []).append(row)
    return Batch(ids.shape, real, offsets, prompts, valid.reshape(-1), list(groups.values()))


def fit(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Put things of these lengths into as few rows of at most `budget` as first-fit-decreasing finds.

    Returns the indices in each row; a thing longer than the budget gets a row of its own. The result depends on the
    lengths alone, so that a resumed run packs as the interrupted one did.
    """
    rows: list[tuple[int, list[int]]] = []
    for index in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        for place, (used, content) in enumerate(rows):
            if used + lengths[index] <= budget:
                rows[place] = (used + lengths[index], [*content, index])
                break
        else:
            rows.append((lengths[index], [index]))
    return [content for _, content in rows]


@dataclass
class Scores:
    """Which places of flattened rows score a token, and where these tokens stand in the padded batch [R, T].

    Attributes:
        places: [M], places in the flattened rows whose hidden states score a token.
        labels: [M], the tokens that they score.
        cells: [M], where these stand in the flattened [R, T - 1] of TRL's fused head.
        shape: (R, T).
    """

    places: torch.Tensor
    labels: torch.Tensor
    cells: torch.Tensor
    shape: tuple[int, int]

    def unpack(self, values: torch.Tensor) -> torch.Tensor:
        """What was computed for the scored tokens, [M], as TRL's fused head returns it: [R, T - 1], 0 elsewhere."""
        rows, width = self.shape
        return values.new_zeros(rows * (width - 1)).scatter(0, self.cells, values.reshape(-1)).view(rows, width - 1)


@dataclass
class Layout:
    """Rows [B, L] that hold each prompt once.

    Attributes:
        input_ids, position_ids, segment_ids: [B, L], as in [`Rows`].
        weights: [B, L] float32, how many tokens of the padded batch a place stands for: G on a prompt of G completions,
            1 on segments, 0 on padding. As `attention_mask` of TRL's fused head it makes the router loss of a
            mixture-of-experts model that of the padded batch.
        scores: which places score a token, and the way back to the padded batch.
        spans: lengths of the prompt (without its last token) and of the segments of every group, row after row.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segment_ids: torch.Tensor
    weights: torch.Tensor
    scores: Scores
    spans: list[tuple[int, list[int]]] = field(default_factory=list)

    @property
    def token_mask(self) -> torch.Tensor:
        """[B, L] bool, whether the place holds a real token."""
        return self.weights > 0


def lay_out(
    batch: Batch, input_ids: torch.Tensor, labels: torch.Tensor, rows: Sequence[Sequence[int]], multiple: int = 1
) -> Layout:
    """Lay the groups of a batch out in rows.

    Args:
        batch: what [`read_batch`] returned.
        input_ids, labels: [R, T], the padded batch.
        rows: the groups (indices into `batch.groups`) of each row.
        multiple: every prompt and segment is padded to a multiple of this (for FlexAttention's tiles).
    """
    pieces = [_row_pieces(batch, [batch.groups[index] for index in content]) for content in rows]
    starts: list[list[int]] = []
    for row in pieces:
        ends = np.cumsum([_rounded(piece.stop - piece.start, multiple) for piece in row])
        starts.append([0, *ends.tolist()])
    length = max(row[-1] for row in starts)
    # source, position, segment, weight of every place
    table: np.ndarray = np.zeros((4, len(rows) * length), np.int64)
    places: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for index, row in enumerate(pieces):
        for piece, start in zip(row, starts[index], strict=False):
            count = piece.stop - piece.start
            here = index * length + start
            source = batch.real[batch.offsets[piece.row] + piece.start : batch.offsets[piece.row] + piece.stop]
            filled = slice(here, here + count)
            table[0, filled] = source
            table[1, filled] = np.arange(piece.start, piece.stop)
            table[2, here : here + _rounded(count, multiple)] = piece.segment
            table[3, filled] = piece.weight
            if piece.segment >= 0:
                kept = np.flatnonzero(batch.scored[source[1:]])
                places.append(here + kept)
                targets.append(source[1:][kept])
    device = input_ids.device
    source, position, segment, weight = torch.from_numpy(table).to(device).unbind()
    shape = (len(rows), length)
    return Layout(
        input_ids=input_ids.reshape(-1)[source].view(shape),
        position_ids=position.view(shape),
        segment_ids=segment.view(shape),
        weights=weight.view(shape).float(),
        scores=_scores(np.concatenate(places), np.concatenate(targets), labels),
        spans=[_span(batch, batch.groups[index]) for content in rows for index in content],
    )


def padded_scores(batch: Batch, labels: torch.Tensor) -> Scores:
    """The scores of the padded rows themselves."""
    target = np.flatnonzero(batch.scored)
    return _scores(target - 1, target, labels)


def _scores(places: np.ndarray, targets: np.ndarray, labels: torch.Tensor) -> Scores:
    """Scores from the places that score and the places of the scored tokens in the flattened batch."""
    cells = targets - targets // labels.shape[1] - 1
    table = torch.from_numpy(np.stack([places, targets, cells])).to(labels.device)
    return Scores(table[0], labels.reshape(-1)[table[1]], table[2], (labels.shape[0], labels.shape[1]))


class _Piece(NamedTuple):
    """Tokens `start` ... `stop - 1` of a row of the padded batch, the segment they make and the rows they stand for."""

    row: int
    start: int
    stop: int
    segment: int
    weight: int


def _row_pieces(batch: Batch, groups: list[list[int]]) -> list[_Piece]:
    pieces = []
    for member, group in enumerate(groups):
        prompt = int(batch.prompts[group[0]])
        pieces.append(_Piece(group[0], 0, prompt - 1, PROMPT - member, len(group)))
        for number, row in enumerate(group):
            segment = member * SEGMENTS_PER_MEMBER + number
            pieces.append(_Piece(row, prompt - 1, batch.length(row), segment, 1))
    return pieces


def _span(batch: Batch, group: list[int]) -> tuple[int, list[int]]:
    prompt = int(batch.prompts[group[0]])
    return prompt - 1, [batch.length(row) - prompt + 1 for row in group]


def _rounded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
