"""Random token batches for the tests of the policy losses, and the gradient of a loss."""

from typing import NamedTuple

import torch
from hypothesis import settings
from hypothesis import strategies as st


seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=20, deadline=None, derandomize=True)


class TokenBatch(NamedTuple):
    logps: torch.Tensor
    old_logps: torch.Tensor
    ref_logps: torch.Tensor
    advantages: torch.Tensor
    mask: torch.Tensor
    entropies: torch.Tensor


def token_batch(seed, rows=4, tokens=6, spread=0.5, full=False, dtype=torch.float64):
    """A batch with log-ratios of standard deviation `spread`; the last row is empty unless `full`."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    old = -normal(rows, tokens).abs() - 0.1
    lengths = torch.randint(1, tokens + 1, (rows,), generator=generator)
    lengths[-1] = 0
    mask = torch.arange(tokens) < lengths[:, None]
    return TokenBatch(
        logps=(old + spread * normal(rows, tokens)).to(dtype),
        old_logps=old.to(dtype),
        ref_logps=(old + spread * normal(rows, tokens)).to(dtype),
        advantages=normal(rows).to(dtype),
        mask=torch.ones_like(mask) if full else mask,
        entropies=normal(rows, tokens).exp().to(dtype),
    )


def gradient(loss_of, values):
    """d(sum of the loss)/d(values)."""
    values = values.detach().clone().requires_grad_()
    return torch.autograd.grad(loss_of(values).sum(), values)[0]
