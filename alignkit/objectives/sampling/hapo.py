"""HAPO (arXiv 2509.16591), part A: a sampling temperature for each token from its entropy."""

import math

import torch

from ..arguments import Numbers, as_float, require_range
from ..policy.hapo import floored_log


def hapo_temperature(
    entropies: Numbers,
    center: float,
    scale: float,
    base_temperature: float = 1.0,
    tau: float = 0.1,
    min_factor: float = 0.1,
    eps: float = 1e-8,
) -> torch.Tensor:
    r"""Temperature of each next token, \( T = T_{base} \max(f_{min}, 1 + \tau (\log H - \hat Q) / \hat\sigma) \) (Eq. 8).

    Args:
        entropies: entropy of each next-token distribution in nats, any shape; detached.
        center, scale: \( \hat Q \) and \( \hat\sigma \) of log H over the previous batch (`hapo_entropy_signal`); a
            scale of 0 gives the base temperature everywhere.
        base_temperature: above 0.
        tau: strength, at least 0; 0 turns the adaptation off.
        min_factor: floor of the factor, in (0, 1]: without it a near-deterministic token could reach T <= 0.
        eps: floor of the entropies, above 0, in nats.

    Returns:
        Temperatures in the shape of `entropies`, without gradient.

    Raises:
        ValueError: for an argument outside its range.
    """
    center, scale = float(center), float(scale)
    require_range("center", center, -math.inf, math.inf, low_open=True, high_open=True)
    require_range("scale", scale, 0.0, math.inf, high_open=True)
    require_range("base_temperature", base_temperature, 0.0, math.inf, low_open=True, high_open=True)
    require_range("tau", tau, 0.0, math.inf, high_open=True)
    require_range("min_factor", min_factor, 0.0, 1.0, low_open=True)
    log_entropies = floored_log(as_float(entropies).detach(), eps)
    if scale == 0:
        return torch.full_like(log_entropies, base_temperature)
    return base_temperature * (1 + tau * (log_entropies - center) / scale).clamp(min=min_factor)
