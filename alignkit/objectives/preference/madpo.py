"""MADPO (arXiv 2510.05342): DPO pairs weighted by how easy a reward model finds them."""

import torch
import torch.nn.functional as F

from ..arguments import Numbers, as_float, require_range, require_same_shape
from .dpo import dpo_loss


def check_madpo(c_min: float, c_max: float, lam: float, tau: float) -> None:
    """Raise `ValueError` for values at which MADPO is undefined or silently becomes plain DPO."""
    require_range("c_min", c_min, 0.0, 1.0, low_open=True, high_open=True)
    require_range("c_max", c_max, 1.0, low_open=True)
    require_range("lam", lam, 0.0, low_open=True)
    require_range("tau", tau, 0.0, low_open=True)


def madpo_coefficient(
    margins: Numbers, c_min: float = 0.25, c_max: float = 4.0, lam: float = 1.0, tau: float = 7.0
) -> torch.Tensor:
    r"""Amplification coefficient of each pair, decreasing in the size of the reward margin.

    \( c(|h|) = c_{min} + (c_{max} - c_{min}) / (1 + \frac{c_{max}-1}{1-c_{min}} e^{\lambda(|h| - \tau)}) \), so that
    \( c(\tau) = 1 \), hard pairs (small |h|) get up to `c_max` and easy ones down to `c_min`. Evaluated through a
    sigmoid, so |h| = 900 does not overflow.

    Args:
        margins: [B], reward of the labelled winner minus that of the loser; detached.
        c_min: smallest coefficient, in (0, 1).
        c_max: largest coefficient, above 1.
        lam: steepness of the transition, above 0, per unit of reward.
        tau: margin at which the coefficient is 1, above 0, in the units of the reward model.

    Returns:
        [B] coefficients in [c_min, c_max], without gradient.

    Raises:
        ValueError: for a hyper-parameter outside its range.
    """
    check_madpo(c_min, c_max, lam, tau)
    size = as_float(margins).detach().abs()
    offset = torch.log(torch.tensor((c_max - 1.0) / (1.0 - c_min), dtype=torch.float64)).item()
    return c_min + (c_max - c_min) * torch.sigmoid(-(lam * (size - tau) + offset))


def madpo_weights(
    margins: Numbers, c_min: float = 0.25, c_max: float = 4.0, lam: float = 1.0, tau: float = 7.0
) -> torch.Tensor:
    r"""Loss weight of each pair: \( w(h) = \sigma(c h)/\sigma(h) \) where \( h > -\tau \), else 1.

    Computed as \( \exp(\log\sigma(c h) - \log\sigma(h)) \) and selected with `where`: the quotient of the two sigmoids
    is 0/0 in float32 from h of about -100 on.

    Args: as `madpo_coefficient`.

    Returns:
        [B] weights in (0, 2), without gradient.

    Raises:
        ValueError: for a hyper-parameter outside its range.
    """
    margins = as_float(margins).detach()
    coefficient = madpo_coefficient(margins, c_min, c_max, lam, tau)
    trusted = margins > -tau
    # The masked branch must be finite too: exp(inf) * 0 would be NaN.
    safe = torch.where(trusted, margins, torch.zeros_like(margins))
    weights = torch.exp(F.logsigmoid(coefficient * safe) - F.logsigmoid(safe))
    return torch.where(trusted, weights, torch.ones_like(weights))


def madpo_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    margins: Numbers,
    beta: float = 0.1,
    c_min: float = 0.25,
    c_max: float = 4.0,
    lam: float = 1.0,
    tau: float = 7.0,
) -> torch.Tensor:
    r"""Margin-adaptive DPO loss of each pair, \( -w(h) \log\sigma(\beta\Delta) \).

    \( \Delta = (\log\pi(y_w) - \log\pi_{ref}(y_w)) - (\log\pi(y_l) - \log\pi_{ref}(y_l)) \). The batch is averaged
    plainly, not divided by the sum of the weights.

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under the frozen reference; detached.
        margins: [B], reward of the labelled winner minus that of the loser; detached.
        beta: inverse temperature of the implicit reward, above 0.
        c_min, c_max, lam, tau: see `madpo_coefficient`.

    Returns:
        [B] losses.

    Raises:
        ValueError: for a hyper-parameter outside its range or arguments of different shapes.
    """
    loss = dpo_loss(policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta)
    weights = madpo_weights(margins, c_min, c_max, lam, tau)
    require_same_shape(policy_chosen_logps=loss, margins=weights)
    return weights * loss
