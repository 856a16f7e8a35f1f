"""SAPO (arXiv 2511.20347): a sigmoid gate on the ratio in place of hard clipping."""

import math

import torch

from ..arguments import Numbers, as_float, require_range
from .ratios import bounded_exp, token_inputs


# The gate has vanished long before; verl clamps at the same place.
LOG_RATIO_LIMIT = 20.0


def check_sapo(tau_pos: float = 1.0, tau_neg: float = 1.05) -> None:
    """Raise `ValueError` unless both temperatures are finite and above 0."""
    require_range("tau_pos", tau_pos, 0.0, math.inf, low_open=True, high_open=True)
    require_range("tau_neg", tau_neg, 0.0, math.inf, low_open=True, high_open=True)


def sapo_loss(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    tau_pos: float = 1.0,
    tau_neg: float = 1.05,
) -> torch.Tensor:
    r"""Loss of each token, \( -f(r) A \) with \( f(r) = \frac{4}{\tau} \sigma(\tau (r - 1)) \) (Eq. 5, 6).

    \( \tau \) is `tau_pos` where A > 0, else `tau_neg`. On-policy the gradient is that of the plain policy gradient for
    every τ; the value is \( -2A/\tau \). The log-ratio is clamped to ±20. Aggregate with `"grpo"`.

    Args:
        logps: [N, T] token log-probabilities under the policy in nats, with gradient.
        old_logps: [N, T], the same under the policy that sampled; detached. None: exactly on-policy.
        advantages: [N] or [N, T]; detached.
        mask: [N, T], non-zero at the tokens that count.
        tau_pos, tau_neg: temperatures of the gate, finite and above 0; larger damps sooner.

    Returns:
        [N, T] losses, exactly 0 where masked.

    Raises:
        ValueError: for a temperature outside its range or other shapes.
    """
    check_sapo(tau_pos, tau_neg)
    inputs = token_inputs(logps, old_logps, advantages, mask)
    tau = _temperature(inputs.advantages, tau_pos, tau_neg)
    ratio = bounded_exp(inputs.log_ratio, LOG_RATIO_LIMIT)
    return -torch.sigmoid(tau * (ratio - 1)) * (4 / tau) * inputs.advantages


def sapo_gradient_weight(
    log_ratio: Numbers, advantages: Numbers, tau_pos: float = 1.0, tau_neg: float = 1.05
) -> torch.Tensor:
    r"""Weight of each token's policy gradient, \( w = 4 r p (1 - p) \), \( p = \sigma(\tau (r - 1)) \), for metrics.

    \( \partial(-loss)/\partial\log\pi = w A \); 1 at r = 1, towards 0 at both ends.

    Args:
        log_ratio: [N, T], clamped to ±20; detached.
        advantages: [N] or [N, T]; only their sign matters; detached.
        tau_pos, tau_neg: see `sapo_loss`.

    Returns:
        [N, T] weights without gradient.

    Raises:
        ValueError: for a temperature outside its range or other shapes.
    """
    check_sapo(tau_pos, tau_neg)
    log_ratios = as_float(log_ratio).detach()
    inputs = token_inputs(log_ratios, torch.zeros_like(log_ratios), advantages, torch.ones_like(log_ratios))
    tau = _temperature(inputs.advantages, tau_pos, tau_neg)
    ratio = bounded_exp(inputs.log_ratio, LOG_RATIO_LIMIT)
    gate = tau * (ratio - 1)
    return 4 * ratio * torch.sigmoid(gate) * torch.sigmoid(-gate)


def _temperature(advantages: torch.Tensor, tau_pos: float, tau_neg: float) -> torch.Tensor:
    """`tau_pos` where the advantage is positive, else `tau_neg`."""
    return torch.full_like(advantages, tau_neg).masked_fill(advantages > 0, tau_pos)
