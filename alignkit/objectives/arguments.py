"""How the objectives take their arguments: tensors, or nested lists (which become float64), checked by name."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch


Numbers: TypeAlias = torch.Tensor | Sequence | float | int


def as_float(values: Numbers) -> torch.Tensor:
    """Return `values` as a floating-point tensor.

    A floating-point tensor is returned unchanged (gradient, device and dtype kept); integer and boolean tensors and
    nested lists become float64, so that hand-written cases are computed exactly.
    """
    if isinstance(values, torch.Tensor):
        return values if values.is_floating_point() else values.to(torch.float64)
    return torch.as_tensor(values, dtype=torch.float64)


def as_long(values: Numbers) -> torch.Tensor:
    """Return `values` as an int64 tensor (indices, ids, counts)."""
    return torch.as_tensor(values).to(torch.int64)


def as_bool(values: Numbers) -> torch.Tensor:
    """Return `values` as a boolean tensor (masks; any non-zero number counts as True)."""
    return torch.as_tensor(values).to(torch.bool)


def require_range(
    name: str,
    value: float,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    """Raise `ValueError` naming the argument, its value and the valid range unless `value` lies in it (NaN never does)."""
    above = value > low if low_open else value >= low
    below = value < high if high_open else value <= high
    if not (above and below):
        left = "(" if low_open or low == -math.inf else "["
        right = ")" if high_open or high == math.inf else "]"
        raise ValueError(f"`{name}` is {value!r}; valid range: {left}{low}, {high}{right}.")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise `ValueError` naming the argument, its value and the valid choices unless `value` is one of them."""
    if value not in choices:
        raise ValueError(f"`{name}` is {value!r}; valid values: {', '.join(map(repr, choices))}.")


def require_same_shape(**tensors: torch.Tensor) -> None:
    """Raise `ValueError` naming the first argument whose shape differs from that of the first one."""
    (first_name, first), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != first.shape:
            raise ValueError(
                f"`{name}` has shape {list(tensor.shape)}; expected {list(first.shape)}, the shape of `{first_name}`."
            )
