"""Guidance: completions generated once more under another prompt, where a group failed (or always)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ..part import Part
from ..rollout import RolloutBatch


@dataclass
class GuidedPrompt:
    """A prompt in place of a row's own.

    Attributes:
        prompt: text or messages to generate under.
        train_under_own: whether the completion is trained under the row's own prompt (off-policy) instead.
    """

    prompt: Any
    train_under_own: bool = False


class Guidance(Part):
    """Base of the guidances. A batch in which nothing is proposed makes exactly one generation call."""

    own: ClassVar[bool] = True

    def propose(self, attempt: int, batch: RolloutBatch) -> dict[int, GuidedPrompt]:
        """Rows of the batch (0 to N - 1) to generate again, with their prompts; empty to stop.

        Called again after each attempt (0, 1, ...), with the rewards as they then stand. The same on every process.
        """
        raise NotImplementedError

    def resolve(self, rows: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """[R] bool, which of the R proposed rows are replaced by what was generated; rewards are [R, K]."""
        raise NotImplementedError


class NoGuidance(Guidance):
    """`none`: every completion stays as it was generated."""

    own = False

    def propose(self, attempt: int, batch: RolloutBatch) -> dict[int, GuidedPrompt]:
        return {}
