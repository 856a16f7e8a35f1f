"""COPO (arXiv 2508.04138): two clipped surrogates, of the local and of the global advantage, blended per response."""

import torch

from ..arguments import Numbers
from .ratios import clip_bounds, clipped_surrogate, importance_ratio, token_advantages, token_inputs


def copo_loss(
    logps: Numbers,
    old_logps: Numbers | None,
    local_advantages: Numbers,
    global_advantages: Numbers,
    local_weight: Numbers,
    mask: Numbers,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    dual_clip: float | None = None,
) -> torch.Tensor:
    r"""Loss of each token, \( w L(A) + (1 - w) L(\tilde A) \), L being the clipped surrogate.

    The losses are blended, not the advantages: \( \min(\rho A, \mathrm{clip}(\rho) A) \) is not additive in A.

    Args:
        logps, old_logps, mask: see `grpo_loss`.
        local_advantages, global_advantages, local_weight: [N], from `copo_advantages`; detached.
        epsilon_low, epsilon_high: clip range, at least 0.
        dual_clip: c, above 1: the loss of a negative advantage is at most c·|A|, each of the two by itself; or None.

    Returns:
        [N, T] losses, exactly 0 where masked.

    Raises:
        ValueError: for other shapes or an argument outside its range.
    """
    low, high = clip_bounds(epsilon_low, epsilon_high)
    inputs = token_inputs(logps, old_logps, local_advantages, mask)
    ratio = importance_ratio(inputs)
    between = token_advantages(global_advantages, inputs.mask, "global_advantages")
    weight = token_advantages(local_weight, inputs.mask, "local_weight")
    within_loss = clipped_surrogate(ratio, inputs.advantages, low, high, dual_clip)
    return weight * within_loss + (1 - weight) * clipped_surrogate(ratio, between, low, high, dual_clip)
