"""Several judges' verdicts on one completion: all must agree that it satisfies its constraints."""

from typing import NamedTuple

import torch

from .arguments import Numbers, as_float


class Judgements(NamedTuple):
    """[N] bool each; a completion that is neither satisfied nor violated is unknown."""

    satisfied: torch.Tensor
    violated: torch.Tensor


def join_judges(satisfied: Numbers, rows: int) -> Judgements:
    """AND of the judges: violated where one says so, satisfied where all say so.

    Args:
        satisfied: [N] or [N, M], 1 or True where judge m is satisfied, 0 or False where not, NaN where it failed. A
            failed judge leaves the completion unknown, never satisfied, unless another one finds it violated.
        rows: N.

    Returns:
        `Judgements(satisfied [N], violated [N])`.

    Raises:
        ValueError: for another shape.
    """
    verdicts = as_float(satisfied).detach()
    if verdicts.dim() not in (1, 2) or len(verdicts) != rows:
        raise ValueError(
            f"`satisfied` has shape {list(verdicts.shape)}; expected [{rows}] or [{rows}, M], one row per completion."
        )
    table = verdicts.reshape(rows, -1) if verdicts.dim() == 2 else verdicts[:, None]
    violated = (table == 0).any(dim=1)
    return Judgements(satisfied=~violated & ~table.isnan().any(dim=1), violated=violated)
