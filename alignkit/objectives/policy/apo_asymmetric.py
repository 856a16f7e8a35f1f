"""Asymmetric Policy Optimization (arXiv 2506.21655): GRPO's loss with a KL weight for each sample."""

import math

import torch

from ..arguments import Numbers, as_bool, require_range
from .grpo import grpo_loss
from .kl import masked_k3
from .ratios import token_advantages


def apo_asymmetric_loss(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    ref_logps: Numbers,
    kl_weights: Numbers,
    beta: float = 0.001,
    epsilon_low: float = 0.2,
    epsilon_high: float | None = None,
) -> torch.Tensor:
    r"""Loss of each token, \( -\min(\rho A, \mathrm{clip}(\rho) A) + \beta w_i k_3 \), the KL without bias correction.

    Args:
        logps, old_logps, advantages, mask, epsilon_low, epsilon_high: see `grpo_loss`.
        ref_logps: [N, T] token log-probabilities under the frozen reference; detached; unused when `beta` is 0.
        kl_weights: [N] from `apo_asymmetric_kl_weights`; detached; unused when `beta` is 0.
        beta: KL coefficient, at least 0.

    Returns:
        [N, T] losses, exactly 0 where masked.

    Raises:
        ValueError: for other shapes or an argument outside its range.
    """
    require_range("beta", beta, 0.0, math.inf, high_open=True)
    loss = grpo_loss(logps, old_logps, advantages, mask, epsilon_low, epsilon_high)
    if beta == 0:
        return loss
    keep = as_bool(mask)
    return loss + beta * token_advantages(kl_weights, keep, "kl_weights") * masked_k3(logps, ref_logps, keep)
