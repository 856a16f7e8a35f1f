"""T-PPO's slots: which prompt each one answers, what it has written so far, and the prompts that come next."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from ...errors import InputError
from ...objectives.sampling import tppo_advance


@dataclass
class Slot:
    """A response that is being written.

    Attributes:
        place: of its prompt in the stream of prompts, counted from 0 and never reset.
        row: index of that prompt in the data set.
        completion_ids: tokens written in earlier windows.
        policies: for each window so far the optimizer steps that its policy had made.
    """

    place: int
    row: int
    completion_ids: list[int] = field(default_factory=list)
    policies: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Window:
    """What one window wrote, in all slots of all processes.

    Attributes:
        start: [S] tokens that each response had before.
        new: [S] tokens that it has got.
        ended: [S] bool, the responses that ended by themselves.
        unfinished: [S] bool, the responses that neither ended nor reached the longest length.
        completion_ids: the responses of this process as they stand now.
    """

    start: torch.Tensor
    new: torch.Tensor
    ended: torch.Tensor
    unfinished: torch.Tensor
    completion_ids: list[list[int]]


class PromptStream:
    """The rows of a data set in the order in which an online trainer's sampler goes through them, epoch after epoch."""

    def __init__(self, rows: int, shuffle: bool, seed: int) -> None:
        self.rows, self.shuffle, self.seed = rows, shuffle, seed
        self._epoch, self._order = -1, torch.arange(rows)

    def row_at(self, place: int) -> int:
        """Index of the row at a place of the endless stream."""
        epoch = place // self.rows
        if self.shuffle and epoch != self._epoch:
            stream = torch.Generator().manual_seed(self.seed)
            for _ in range(epoch + 1):
                self._order = torch.randperm(self.rows, generator=stream)
            self._epoch = epoch
        return int(self._order[place % self.rows])


class SlotBoard:
    """The slots of one process, and where all slots together stand in the stream of prompts.

    Args:
        count: slots of this process.
        rank, processes: this process and how many there are; each has as many slots.
        prompts: what refills the slots.
        max_length: tokens at which a response is finished in any case.
    """

    def __init__(self, count: int, rank: int, processes: int, prompts: PromptStream, max_length: int) -> None:
        self.prompts, self.max_length, self.total = prompts, max_length, count * processes
        self.own = slice(rank * count, (rank + 1) * count)
        self.taken = self.total
        self.places = torch.arange(self.total)
        self.slots = [self._open(place) for place in self.places[self.own].tolist()]

    def _open(self, place: int) -> Slot:
        return Slot(place, self.prompts.row_at(place))

    def advance(self, window: Window, step: int) -> list[Slot]:
        """Book a window written by the policy of optimizer step `step`; this process's slots that it finished.

        Their places are taken by the next prompts, in the order of all slots.
        """
        rows = self.prompts.rows
        moved = tppo_advance(
            self.places % rows,
            window.start,
            window.new,
            window.ended,
            self.taken % rows,
            rows,
            self.max_length,
        )
        order = moved.finished.cumsum(0) - 1
        self.places = torch.where(moved.finished, self.taken + order, self.places)
        self.taken += int(moved.finished.sum())
        finished = []
        for index, ids in enumerate(window.completion_ids):
            slot, place = self.slots[index], int(self.places[self.own][index])
            slot.completion_ids = ids
            slot.policies.append(step)
            if slot.place != place:
                finished.append(slot)
                self.slots[index] = self._open(place)
        return finished

    def state(self, slots: Sequence[Slot]) -> dict[str, Any]:
        """What a checkpoint holds, given the slots of all processes in order."""
        return {"taken": self.taken, "slots": [asdict(slot) for slot in slots]}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave. Raises `InputError` for another number of slots or other prompts."""
        slots = [Slot(**values) for values in state["slots"]]
        if len(slots) != self.total:
            raise InputError(
                f"the checkpoint holds {len(slots)} slots, this run has {self.total} (completions of a generation batch of "
                "all processes); put the batch sizes back to go on."
            )
        for index, slot in enumerate(slots):
            if slot.row >= self.prompts.rows or self.prompts.row_at(slot.place) != slot.row:
                raise InputError(
                    f"slot {index} (counted from 0) of the checkpoint answers row {slot.row} of the data set, where this "
                    "run's order has another: the data set, its shuffling or the seed has changed; put it back to go on."
                )
        self.taken = state["taken"]
        self.places = torch.tensor([slot.place for slot in slots])
        self.slots = slots[self.own]
