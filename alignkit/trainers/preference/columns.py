"""Extra columns of a preference data set, carried to the loss: TRL's collator knows only its own."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class ColumnCollator:
    """Add numeric columns to what another collator makes of the same examples.

    Attributes:
        collator: the collator of the tokens (TRL's, or the user's).
        columns: names of the columns; each becomes a float32 tensor [B] or [B, n].
    """

    collator: Any
    columns: tuple[str, ...]

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.collator(examples)
        for name in self.columns:
            batch[name] = torch.tensor([example[name] for example in examples], dtype=torch.float32)
        return batch
