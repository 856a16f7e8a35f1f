"""GRPO's token loss (arXiv 2402.03300) with clip-higher, two-sided clipping, sequence ratios and the KL term."""

import math

import torch

from ..arguments import Numbers, require_range
from .kl import masked_k3
from .ratios import clip_bounds, clipped_surrogate, importance_ratio, token_inputs


def grpo_loss(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    epsilon_low: float = 0.2,
    epsilon_high: float | None = None,
    delta: float | None = None,
    importance_sampling_level: str = "token",
    ref_logps: Numbers | None = None,
    beta: float = 0.0,
    use_bias_correction_kl: bool = True,
) -> torch.Tensor:
    r"""Loss of each token, \( -\min(\rho A, \mathrm{clip}(\rho, 1-\epsilon_{low}, 1+\epsilon_{high}) A) + \beta KL \).

    \( \rho = \pi / \pi_{old} \) of the token, or of the whole sequence (exponential of the mean log-ratio, GSPO). With
    `delta` the unclipped branch uses \( \min(\rho, \delta) \), which binds for A < 0 only. The KL term is k3
    (`kl_estimate`), times the uncapped \( \rho \), gradient included, with `use_bias_correction_kl`. The same numbers as
    `trl.GRPOTrainer`, except that log-ratios are clamped to ±40.

    Args:
        logps: [N, T] token log-probabilities under the policy in nats, with gradient.
        old_logps: [N, T], the same under the policy that sampled; detached. None: exactly on-policy.
        advantages: [N] or [N, T]; detached.
        mask: [N, T], non-zero at the tokens that count.
        epsilon_low, epsilon_high: clip range, at least 0; `epsilon_high` defaults to `epsilon_low`.
        delta: upper limit of the ratio for negative advantages, above 0, or None.
        importance_sampling_level: `"token"` or `"sequence"`.
        ref_logps: [N, T], the same under the frozen reference; detached; required unless `beta` is 0.
        beta: KL coefficient, at least 0.
        use_bias_correction_kl: multiply the KL term by the ratio.

    Returns:
        [N, T] losses, exactly 0 where masked.

    Raises:
        ValueError: for other shapes, an argument outside its range or `beta` without `ref_logps`.
    """
    low, high = clip_bounds(epsilon_low, epsilon_high)
    require_range("beta", beta, 0.0, math.inf, high_open=True)
    inputs = token_inputs(logps, old_logps, advantages, mask)
    ratio = importance_ratio(inputs, importance_sampling_level)
    loss = clipped_surrogate(ratio, inputs.advantages, low, high, delta=delta)
    if beta == 0:
        return loss
    if ref_logps is None:
        raise ValueError(
            f"`ref_logps` is None while `beta` is {beta!r}; the KL term needs reference log-probabilities."
        )
    kl = masked_k3(logps, ref_logps, inputs.mask)
    return loss + beta * (kl * ratio if use_bias_correction_kl else kl)
