"""Replay buffers: stored completions that join a group in place of fresh ones."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..part import Part
from ..rollout import RolloutBatch


@dataclass
class StoredCompletion:
    """A completion of an earlier step.

    Attributes:
        completion: text or messages.
        completion_ids: its tokens.
        rewards: K numbers, NaN for None.
    """

    completion: Any
    completion_ids: list[int]
    rewards: list[float]


class ReplayBuffer(Part):
    """Base of the buffers. What it holds is the same on every process."""

    own: ClassVar[bool] = True

    def request(self, batch: RolloutBatch) -> dict[int, StoredCompletion]:
        """Rows of the batch (0 to N - 1) to replace, with what replaces them. The same on every process."""
        raise NotImplementedError

    def store(self, batch: RolloutBatch) -> None:
        """Look at a finished batch; its `origins` tell the rows that came out of the buffer."""


class NoReplay(ReplayBuffer):
    """`none`: nothing is stored."""

    own = False

    def request(self, batch: RolloutBatch) -> dict[int, StoredCompletion]:
        return {}
