"""PPO's token loss (arXiv 1707.06347) with clip-higher and dual clip (arXiv 1912.09729)."""

import torch

from ..arguments import Numbers, require_range
from .ratios import bounded_exp, check_dual_clip, clip_bounds, clipped_surrogate, token_inputs


# exp(20) is far outside any clip range; verl and OpenRLHF clamp at the same place.
LOG_RATIO_LIMIT = 20.0


def check_ppo(epsilon_low: float = 0.2, epsilon_high: float = 0.2, dual_clip: float | None = None) -> None:
    """Raise `ValueError` unless `epsilon_low` is in [0, 1), `epsilon_high` at least 0 and `dual_clip` None or above 1."""
    require_range("epsilon_low", epsilon_low, 0.0, 1.0, high_open=True)
    require_range("epsilon_high", epsilon_high, 0.0)
    check_dual_clip(dual_clip)


def ppo_loss(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    dual_clip: float | None = None,
) -> torch.Tensor:
    r"""Loss of each token, \( -\min(\rho A, \mathrm{clip}(\rho, 1-\epsilon_{low}, 1+\epsilon_{high}) A) \).

    \( \rho = \pi / \pi_{old} \), its logarithm clamped to ±20. With `dual_clip` c a loss with A < 0 stops at
    \( c |A| \).

    Args:
        logps: [N, T] token log-probabilities under the policy in nats, with gradient.
        old_logps: [N, T], the same under the policy that sampled; detached. None: exactly on-policy.
        advantages: [N] or [N, T]; detached.
        mask: [N, T], non-zero at the tokens that count.
        epsilon_low: in [0, 1).
        epsilon_high: at least 0.
        dual_clip: c, above 1, or None.

    Returns:
        [N, T] losses, exactly 0 where masked.

    Raises:
        ValueError: for other shapes or an argument outside its range.
    """
    check_ppo(epsilon_low, epsilon_high, dual_clip)
    inputs = token_inputs(logps, old_logps, advantages, mask)
    ratio = bounded_exp(inputs.log_ratio, LOG_RATIO_LIMIT)
    return clipped_surrogate(ratio, inputs.advantages, *clip_bounds(epsilon_low, epsilon_high), dual_clip)
