"""What a training step of a denoiser keeps at its peak, followed on the `meta` device operation by operation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..live_bytes import LiveBytes


class FlashAttention(torch.autograd.Function):
    """The shapes of attention that keeps its inputs and its output, as fused kernels do, and no probabilities."""

    @staticmethod
    def forward(ctx, query, key, value):
        output = torch.empty(*query.shape[:-1], value.shape[-1], dtype=query.dtype, device=query.device)
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx, gradient):
        query, key, value, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


@contextmanager
def fused_attention() -> Iterator[None]:
    """Inside, `scaled_dot_product_attention` is one that only has shapes."""
    import torch.nn.functional as F

    original = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = lambda query, key, value, *_, **__: FlashAttention.apply(query, key, value)
    try:
        yield
    finally:
        F.scaled_dot_product_attention = original


def step_bytes(
    forward: Callable[..., torch.Tensor], denoiser: Any, noised: torch.Tensor, conditions: dict[str, torch.Tensor]
) -> int:
    """Peak bytes of one forward and backward pass; weights and their gradients are not counted.

    Args:
        forward: `forward` of the family in `alignkit.trainers.diffusion.families`.
        denoiser: on the `meta` device, in training mode, with what is trained marked by `requires_grad`.
        noised: [B, C, H, W] on the `meta` device; its dtype is that of the computation.
        conditions: [B, ...] each, on the `meta` device.
    """
    times = torch.empty(len(noised), device="meta", dtype=noised.dtype)
    hooks = [
        value.register_post_accumulate_grad_hook(drop_gradient)
        for value in denoiser.parameters()
        if value.requires_grad
    ]
    counter = LiveBytes()
    with fused_attention(), counter:
        forward(denoiser, noised, times, conditions).square().mean().backward()
    for hook in hooks:
        hook.remove()
    return counter.peak


def drop_gradient(parameter: torch.Tensor) -> None:
    """Forget a gradient as soon as it is there: gradients are counted as a part of their own."""
    parameter.grad = None
