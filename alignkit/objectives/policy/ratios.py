"""What every policy loss starts from: masked log-ratios and advantages per token, and the clipped surrogate.

Masked places are zeroed here, before anything is exponentiated: an inf or NaN in the padding then reaches neither the
loss nor its gradient, which a product with the mask afterwards could not guarantee.
"""

from typing import NamedTuple

import torch

from ..arguments import Numbers, as_bool, as_float, require_choice, require_range, require_same_shape


# exp(40) is far beyond any ratio that a run survives, and its square is still finite in float32.
MAX_LOG_RATIO = 40.0
IMPORTANCE_SAMPLING_LEVELS = ("token", "sequence")


class TokenInputs(NamedTuple):
    """Log-ratios (with gradient), detached advantages, both [N, T] and 0 where masked, and the boolean mask [N, T]."""

    log_ratio: torch.Tensor
    advantages: torch.Tensor
    mask: torch.Tensor


def token_inputs(logps: Numbers, old_logps: Numbers | None, advantages: Numbers, mask: Numbers) -> TokenInputs:
    r"""Check the arguments that all policy losses share and zero them where masked.

    Args:
        logps: [N, T] token log-probabilities under the policy in nats, with gradient.
        old_logps: [N, T], the same under the policy that sampled; detached. None: exactly on-policy, a ratio of 1.
        advantages: [N] or [N, T]; detached.
        mask: [N, T], non-zero at the tokens that count.

    Returns:
        `TokenInputs` with \( \log\rho = \log\pi - \log\pi_{old} \).

    Raises:
        ValueError: for other shapes.
    """
    policy, keep = as_float(logps), as_bool(mask)
    if policy.dim() != 2:
        raise ValueError(f"`logps` has shape {list(policy.shape)}; expected [N, T].")
    old = policy.detach() if old_logps is None else as_float(old_logps).detach()
    require_same_shape(logps=policy, old_logps=old, mask=keep)
    log_ratio = masked(policy - old, keep)
    return TokenInputs(log_ratio, token_advantages(advantages, keep), keep)


def token_advantages(advantages: Numbers, mask: torch.Tensor, name: str = "advantages") -> torch.Tensor:
    """Broadcast one value per row, [N], to its tokens, or take [N, T]; detached, 0 where masked."""
    values = as_float(advantages).detach()
    if values.shape not in (mask.shape, mask.shape[:1]):
        raise ValueError(
            f"`{name}` has shape {list(values.shape)}; expected {list(mask.shape[:1])} or {list(mask.shape)}."
        )
    return masked(values if values.dim() == 2 else values[:, None].expand(mask.shape), mask)


def masked(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Values where the mask holds, exactly 0 elsewhere, whatever stood there."""
    return torch.where(mask, values, torch.zeros_like(values))


def bounded_exp(log_ratio: torch.Tensor, limit: float = MAX_LOG_RATIO) -> torch.Tensor:
    r"""\( \rho = e^{\log\rho} \) with \( \log\rho \) clamped to ±`limit`, so that value and gradient stay finite.

    Beyond the limit the gradient is 0.
    """
    return log_ratio.clamp(-limit, limit).exp()


def sequence_log_ratio(log_ratio: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of the masked log-ratios of each row, broadcast to its tokens, [N, T]; 0 for an empty row."""
    mean = log_ratio.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    return masked(mean.expand(mask.shape), mask)


def importance_ratio(inputs: TokenInputs, level: str = "token") -> torch.Tensor:
    """Ratio [N, T] of each token, or of its whole sequence (GSPO) where `level` is `"sequence"`; 1 where masked."""
    require_choice("importance_sampling_level", level, IMPORTANCE_SAMPLING_LEVELS)
    return bounded_exp(inputs.log_ratio if level == "token" else sequence_log_ratio(inputs.log_ratio, inputs.mask))


def clipped_surrogate(
    ratio: torch.Tensor,
    advantages: torch.Tensor,
    low: torch.Tensor | float,
    high: torch.Tensor | float,
    dual_clip: float | None = None,
    delta: float | None = None,
) -> torch.Tensor:
    r"""\( -\min(\rho A, \mathrm{clip}(\rho, low, high) A) \), for A < 0 at most \( c |A| \) with `dual_clip` c.

    With `delta` the first ρ is \( \min(\rho, \delta) \) (two-sided clipping).

    Args:
        ratio: [N, T], with gradient.
        advantages: [N, T], detached by the caller.
        low, high: bounds of the ratio, two numbers or two tensors [N, T].
        dual_clip: c, above 1, or None.
        delta: above 0, or None.

    Returns:
        [N, T] losses.

    Raises:
        ValueError: if `dual_clip` is not above 1 or `delta` not above 0.
    """
    check_dual_clip(dual_clip)
    capped = ratio
    if delta is not None:
        require_range("delta", delta, 0.0, low_open=True)
        capped = ratio.clamp(max=delta)
    loss = -torch.minimum(capped * advantages, torch.clamp(ratio, low, high) * advantages)
    if dual_clip is None:
        return loss
    return torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)


def check_dual_clip(dual_clip: float | None) -> None:
    """Raise `ValueError` unless None or above 1."""
    if dual_clip is not None:
        require_range("dual_clip", dual_clip, 1.0, low_open=True)


def clip_bounds(epsilon_low: float, epsilon_high: float | None = None) -> tuple[float, float]:
    r"""Bounds \( 1 - \epsilon_{low} \), \( 1 + \epsilon_{high} \) of the ratio; `epsilon_high` defaults to `epsilon_low`.

    Raises `ValueError` for a negative epsilon.
    """
    require_range("epsilon_low", epsilon_low, 0.0)
    if epsilon_high is None:
        epsilon_high = epsilon_low
    require_range("epsilon_high", epsilon_high, 0.0)
    return 1 - epsilon_low, 1 + epsilon_high
