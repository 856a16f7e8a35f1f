"""Random rewards for the tests of the advantage estimators."""

import torch
from hypothesis import settings
from hypothesis import strategies as st


seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=20, deadline=None, derandomize=True)


def rewards_of(seed, prompts=4, generations=4, columns=None, binary=False, missing=0.0):
    """[N] or [N, columns] float64 rewards, normal or 0/1, each NaN with probability `missing`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (prompts * generations,) if columns is None else (prompts * generations, columns)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    values = (values > 0).double() if binary else values
    return torch.where(torch.rand(shape, generator=generator) < missing, torch.nan, values)


def lengths_of(seed, rows=16, longest=20):
    """[N] int64 lengths between 1 and `longest`."""
    return torch.randint(1, longest + 1, (rows,), generator=torch.Generator().manual_seed(seed + 1))


def mask_of(lengths, tokens=20):
    """[N, T] mask of right-padded rows."""
    return torch.arange(tokens) < torch.as_tensor(lengths)[:, None]
