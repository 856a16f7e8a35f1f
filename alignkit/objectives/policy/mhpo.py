"""MHPO (arXiv 2603.16929): a bounded smooth log-ratio with a hazard penalty for each direction."""

import math

import torch
import torch.nn.functional as F

from ..arguments import Numbers, as_float, require_range
from .ratios import token_inputs


def check_mhpo(
    c: float = 1.5, k_pos: float = 1.5, lambda_pos: float = 1.0, k_neg: float = 2.0, lambda_neg: float = 0.8
) -> None:
    """Raise `ValueError` unless every hyper-parameter is finite and above 0."""
    values = {"c": c, "k_pos": k_pos, "lambda_pos": lambda_pos, "k_neg": k_neg, "lambda_neg": lambda_neg}
    for name, value in values.items():
        require_range(name, value, 0.0, math.inf, low_open=True, high_open=True)


def mhpo_hazard(
    psi: Numbers, k_pos: float = 1.5, lambda_pos: float = 1.0, k_neg: float = 2.0, lambda_neg: float = 0.8
) -> torch.Tensor:
    r"""Cumulative hazard, \( \zeta = (s(\psi)/\lambda_+)^{k_+} + (s(-\psi)/\lambda_-)^{k_-} \), s being softplus.

    Not 0 at \( \psi = 0 \): with the defaults \( \zeta(0) = 1.328 \), so that on-policy steps are scaled by 0.265.

    Args:
        psi: modulated log-ratio \( c \tanh(\log r / c) \), any shape; detached, or updates would reverse.
        k_pos, k_neg: Weibull shapes, above 0.
        lambda_pos, lambda_neg: Weibull scales, above 0.

    Returns:
        Hazards in the shape of `psi`, without gradient.

    Raises:
        ValueError: for a hyper-parameter outside its range.
    """
    check_mhpo(k_pos=k_pos, lambda_pos=lambda_pos, k_neg=k_neg, lambda_neg=lambda_neg)
    modulated = as_float(psi).detach()
    return (F.softplus(modulated) / lambda_pos) ** k_pos + (F.softplus(-modulated) / lambda_neg) ** k_neg


def mhpo_loss(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    c: float = 1.5,
    k_pos: float = 1.5,
    lambda_pos: float = 1.0,
    k_neg: float = 2.0,
    lambda_neg: float = 0.8,
) -> torch.Tensor:
    r"""Loss of each token, \( -e^{\psi - \zeta} A \) with \( \psi = c \tanh(\log r / c) \) and ζ from `mhpo_hazard`.

    The ratio itself is never formed: the log-ratio saturates in tanh. Aggregate with `"grpo"`.

    Args:
        logps: [N, T] token log-probabilities under the policy in nats, with gradient (through ψ only).
        old_logps: [N, T], the same under the policy that sampled; detached. None: exactly on-policy.
        advantages: [N] or [N, T]; detached.
        mask: [N, T], non-zero at the tokens that count.
        c: limit of |ψ|, above 0, in nats.
        k_pos, lambda_pos, k_neg, lambda_neg: see `mhpo_hazard`.

    Returns:
        [N, T] losses, exactly 0 where masked.

    Raises:
        ValueError: for a hyper-parameter outside its range or other shapes.
    """
    check_mhpo(c, k_pos, lambda_pos, k_neg, lambda_neg)
    inputs = token_inputs(logps, old_logps, advantages, mask)
    psi = c * torch.tanh(inputs.log_ratio / c)
    return -torch.exp(psi - mhpo_hazard(psi, k_pos, lambda_pos, k_neg, lambda_neg)) * inputs.advantages


def mhpo_gradient_multiplier(
    log_ratio: Numbers,
    c: float = 1.5,
    k_pos: float = 1.5,
    lambda_pos: float = 1.0,
    k_neg: float = 2.0,
    lambda_neg: float = 0.8,
) -> torch.Tensor:
    r"""Weight of each token's policy gradient, \( M = e^{\psi - \zeta} \, \mathrm{sech}^2(\log r / c) \), for metrics.

    \( \partial loss/\partial\log\pi = -M A \), with \( 0 \le M \le e^c \).

    Args:
        log_ratio: any shape, in nats; detached.
        c, k_pos, lambda_pos, k_neg, lambda_neg: see `mhpo_loss`.

    Returns:
        Multipliers in the shape of `log_ratio`, without gradient.

    Raises:
        ValueError: for a hyper-parameter outside its range.
    """
    check_mhpo(c, k_pos, lambda_pos, k_neg, lambda_neg)
    saturation = torch.tanh(as_float(log_ratio).detach() / c)
    psi = c * saturation
    return torch.exp(psi - mhpo_hazard(psi, k_pos, lambda_pos, k_neg, lambda_neg)) * (1 - saturation.square())
