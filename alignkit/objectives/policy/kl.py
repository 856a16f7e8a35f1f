"""Estimators of the KL divergence from the reference, token by token."""

import torch

from ..arguments import Numbers, as_float, require_choice, require_same_shape
from .ratios import MAX_LOG_RATIO, masked


ESTIMATORS = ("k1", "k2", "k3")


def kl_estimate(logps: Numbers, ref_logps: Numbers, estimator: str = "k3") -> torch.Tensor:
    r"""Estimate of \( KL(\pi \| \pi_{ref}) \) at each sampled token.

    With \( d = \log\pi_{ref} - \log\pi \): `"k1"` is \( -d \) (unbiased, signed), `"k2"` is \( d^2/2 \) (biased value; its
    gradient is that of the reverse KL on-policy), `"k3"` is \( e^d - d - 1 \) (at least 0, unbiased; its plain gradient
    is that of the forward KL).

    Args:
        logps: token log-probabilities under the policy in nats, any shape, with gradient.
        ref_logps: the same under the frozen reference; detached.
        estimator: `"k1"`, `"k2"` or `"k3"`.

    Returns:
        Estimates in the same shape. In `"k3"` d is limited to 40 (gradient 0 beyond), so that it stays finite.

    Raises:
        ValueError: for an unknown estimator or shapes that differ.
    """
    require_choice("estimator", estimator, ESTIMATORS)
    policy, reference = as_float(logps), as_float(ref_logps).detach()
    require_same_shape(logps=policy, ref_logps=reference)
    gap = reference - policy
    if estimator == "k1":
        return -gap
    if estimator == "k2":
        return gap.square() / 2
    # expm1, because e^d - 1 of a small d would lose the d^2/2 that is left, and could come out negative.
    limited = gap.clamp(max=MAX_LOG_RATIO)
    return torch.expm1(limited) - limited


def masked_k3(logps: Numbers, ref_logps: Numbers, mask: torch.Tensor) -> torch.Tensor:
    """The k3 estimate of each token, [N, T], exactly 0 where masked; `ValueError` when the shapes differ."""
    policy, reference = as_float(logps), as_float(ref_logps)
    require_same_shape(logps=policy, ref_logps=reference)
    return kl_estimate(masked(policy, mask), masked(reference, mask))
