"""Win rates and preference matrices as arguments: probabilities in [0, 1], detached, refused otherwise."""

import torch

from .arguments import Numbers
from .precision import as_full_float


def as_probabilities(name: str, values: Numbers) -> torch.Tensor:
    """Return `values` detached, in at least float32; raise `ValueError` at the first one outside [0, 1] (NaN is)."""
    rates = as_full_float(values).detach()
    _require_probabilities(name, rates, (rates >= 0) & (rates <= 1))
    return rates


def as_preferences(preferences: Numbers) -> torch.Tensor:
    """Return a [N, K, K] preference matrix, entry (n, i, j) = P(i beats j), detached and with 0.5 on the diagonal.

    What stood on the diagonal is ignored. NaN marks a failed judgement and stays.

    Raises:
        ValueError: if the shape is not [N, K, K] with K at least 1, or another entry lies outside [0, 1].
    """
    matrix = as_full_float(preferences).detach()
    if matrix.dim() != 3 or matrix.shape[1] != matrix.shape[2] or matrix.shape[1] == 0:
        raise ValueError(
            f"`preferences` has shape {list(matrix.shape)}; expected [N, K, K]: one square matrix for each prompt, "
            "with at least one response."
        )
    diagonal = torch.eye(matrix.shape[1], dtype=torch.bool, device=matrix.device)
    matrix = matrix.masked_fill(diagonal, 0.5)
    _require_probabilities("preferences", matrix, ((matrix >= 0) & (matrix <= 1)) | matrix.isnan())
    return matrix


def _require_probabilities(name: str, values: torch.Tensor, valid: torch.Tensor) -> None:
    if not bool(valid.all()):
        place = tuple((~valid).nonzero()[0].tolist())
        raise ValueError(f"`{name}` is {values[place].item()!r} at index {list(place)}; valid range: [0, 1].")
