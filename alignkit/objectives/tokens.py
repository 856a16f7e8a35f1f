"""Places of tokens in right-padded completions whose mask may have holes (tool output)."""

import torch


def last_valid(mask: torch.Tensor) -> torch.Tensor:
    """True at the last True of each row of a boolean [N, T] mask, nowhere in an empty row."""
    return mask & (mask.flip(1).cumsum(1).flip(1) == 1)
