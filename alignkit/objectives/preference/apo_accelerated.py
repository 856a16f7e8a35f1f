"""Accelerated preference optimisation (arXiv 2410.06293): Nesterov momentum over the iterations of DPO.

Not Anchored Preference Optimization, which is TRL's `apo_zero` and `apo_down`.
"""

import math

import torch
import torch.nn.functional as F

from ..arguments import Numbers, require_choice, require_range, require_same_shape
from ..precision import as_full_float
from .dpo import log_ratio_gap


LOSS_TYPES = ("sigmoid", "ipo")


def check_apo_accelerated(alpha: float, beta: float = 0.1, loss_type: str = "sigmoid") -> None:
    """Raise `ValueError` unless 0 <= alpha < 1, beta > 0 and the loss uses differences of log-ratios only."""
    require_range("alpha", alpha, 0.0, 1.0, high_open=True)
    require_range("beta", beta, 0.0, math.inf, low_open=True, high_open=True)
    require_choice("loss_type", loss_type, LOSS_TYPES)


def apo_accelerated_extrapolate(current: Numbers, previous: Numbers, alpha: float = 0.3) -> torch.Tensor:
    r"""\( (1+\alpha)\,\hat\theta_{t+1} - \alpha\,\hat\theta_t \), for parameters or unnormalised log-probabilities.

    Computed as \( x + \alpha(x - y) \), in float32 where the input is narrower, so that equal arguments come back
    unchanged, and returned in the dtype of `current`. Differentiable in both.

    Args:
        current, previous: any equal shapes.
        alpha: momentum, in [0, 1).

    Returns:
        The extrapolated values, in the shape of `current`.

    Raises:
        ValueError: if `alpha` lies outside its range or the shapes differ.
    """
    check_apo_accelerated(alpha)
    wide, wide_previous = as_full_float(current), as_full_float(previous)
    require_same_shape(current=wide, previous=wide_previous)
    extrapolated = wide + alpha * (wide - wide_previous)
    if isinstance(current, torch.Tensor) and current.is_floating_point():
        return extrapolated.to(current.dtype)
    return extrapolated


def apo_accelerated_policy(logits: Numbers, previous_logits: Numbers, alpha: float = 0.3) -> torch.Tensor:
    r"""Log-probabilities of the extrapolated policy \( \propto \hat\pi_{t+1}(\hat\pi_{t+1}/\hat\pi_t)^\alpha \).

    Normalised over the last dimension, whose entries must be whole responses (a tabular or one-category policy): for
    sequences of tokens the product of such factors is not this policy. A response that `logits` exclude (-inf) stays
    excluded. Half precision is widened to float32.

    Args:
        logits, previous_logits: [..., V], unnormalised log-probabilities after this iteration and the one before.
        alpha: momentum, in [0, 1).

    Returns:
        [..., V] log-probabilities.

    Raises:
        ValueError: if `alpha` lies outside its range or the shapes differ.
    """
    current = F.log_softmax(as_full_float(logits), dim=-1)
    previous = F.log_softmax(as_full_float(previous_logits), dim=-1)
    extrapolated = apo_accelerated_extrapolate(current, previous, alpha)
    return F.log_softmax(extrapolated.masked_fill(current == -math.inf, -math.inf), dim=-1)


def apo_accelerated_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    previous_chosen_logps: Numbers,
    previous_rejected_logps: Numbers,
    beta: float = 0.1,
    alpha: float = 0.3,
    loss_type: str = "sigmoid",
) -> torch.Tensor:
    r"""DPO or IPO loss of each pair against the extrapolated reference \( (1+\alpha)\log\hat\pi_t - \alpha\log\hat\pi_{t-1} \).

    Only differences of reference log-probabilities enter, so the normaliser of the extrapolated policy cancels and no
    extrapolated weights are needed. `"sigmoid"`: \( -\log\sigma(\beta h) \); `"ipo"`: \( (h - \frac{1}{2\beta})^2 \)
    on summed log-probabilities, where h is the gap of the log-ratios. SPPO is not offered: it uses each log-ratio by
    itself. If the weights were extrapolated, pass their log-probabilities as `ref` and `alpha=0`. Half precision is
    widened to float32.

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same as trained in the last iteration; detached.
        previous_chosen_logps, previous_rejected_logps: [B], the same one iteration earlier; detached.
        beta: inverse temperature of the implicit reward, above 0.
        alpha: momentum, in [0, 1).
        loss_type: `"sigmoid"` or `"ipo"`.

    Returns:
        [B] losses.

    Raises:
        ValueError: if `alpha`, `beta` or `loss_type` lies outside its range or the shapes differ.
    """
    check_apo_accelerated(alpha, beta, loss_type)
    ref_chosen, ref_rejected = as_full_float(ref_chosen_logps), as_full_float(ref_rejected_logps)
    previous_chosen, previous_rejected = as_full_float(previous_chosen_logps), as_full_float(previous_rejected_logps)
    require_same_shape(
        ref_chosen_logps=ref_chosen,
        previous_chosen_logps=previous_chosen,
        previous_rejected_logps=previous_rejected,
        ref_rejected_logps=ref_rejected,
    )
    gap = log_ratio_gap(
        as_full_float(policy_chosen_logps),
        as_full_float(policy_rejected_logps),
        apo_accelerated_extrapolate(ref_chosen, previous_chosen, alpha),
        apo_accelerated_extrapolate(ref_rejected, previous_rejected, alpha),
    )
    return -F.logsigmoid(beta * gap) if loss_type == "sigmoid" else (gap - 1 / (2 * beta)) ** 2
