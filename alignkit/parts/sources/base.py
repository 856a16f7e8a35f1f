"""Prompt sources: which prompts the next generation batch holds."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ..part import Part


@dataclass
class PromptItem:
    """One prompt of a generation batch.

    Attributes:
        index: row of the training data set.
        row: that row, its `prompt` rewritten where `context` says so.
        context: `"bare"`, or what was added to the prompt.
    """

    index: int
    row: dict[str, Any]
    context: str = "bare"


class PromptSource(Part):
    """Base of the sources. A source that is not the dataloader's draws when a batch is generated, not before.

    The dataloader brings its rows one generation too early for a choice that depends on the last rewards. State must
    change only from what every process knows: the draws (from a generator of its own) and the gathered rewards.
    """

    own: ClassVar[bool] = True

    def open(self, dataset: Any) -> None:
        """Take over the training data set (with a length), once, before training."""
        self.dataset = dataset

    def draw(self, num_groups: int) -> list[PromptItem]:
        """The prompts of the next generation batch, the same on every process."""
        raise NotImplementedError

    def observe(self, items: list[PromptItem], rewards: torch.Tensor) -> None:
        """Learn from the final rewards [num_groups, G] of what was drawn; NaN where none could be given."""


class DataloaderOrder(PromptSource):
    """`dataloader`: the data set's order, shuffled in each epoch, as TRL brings it."""

    own = False
