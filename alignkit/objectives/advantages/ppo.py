"""PPO's advantages: whitened over all valid tokens of the rollout batch."""

import math

import torch

from ..arguments import Numbers, as_bool, require_range, require_same_shape
from ..groups import centre, nan_std
from ..policy.ratios import masked
from ..precision import as_full_float


def whiten(advantages: Numbers, mask: Numbers, shift_mean: bool = True, eps: float = 1e-8) -> torch.Tensor:
    r"""Advantages with mean 0 and standard deviation 1 over the valid tokens, \( (A - \mu) / \sqrt{\sigma^2 + \epsilon} \).

    \( \sigma^2 \) is unbiased. Give it the rows of *all* processes at once: it is the same for any order of the rows and
    any padding.

    Args:
        advantages: [N, T]; detached.
        mask: [N, T], non-zero at the tokens that count (`scorable_mask` leaves out unscorable rows).
        shift_mean: False adds the mean back, so that only the spread is normalised.
        eps: added to the variance, at least 0.

    Returns:
        [N, T] advantages without gradient, 0 where masked, exactly 0 (or the mean) where all are equal. With fewer than
        two valid tokens 0, or without `shift_mean` the lone advantage itself.

    Raises:
        ValueError: for shapes that differ or are not [N, T], or `eps` below 0.
    """
    require_range("eps", eps, 0.0, math.inf, high_open=True)
    values, keep = as_full_float(advantages).detach(), as_bool(mask)
    if values.dim() != 2:
        raise ValueError(f"`advantages` has shape {list(values.shape)}; expected [N, T].")
    require_same_shape(advantages=values, mask=keep)
    valid = values[keep]
    if valid.numel() < 2:
        return torch.zeros_like(values) if shift_mean else masked(values, keep)
    centred = centre(valid[None])
    # A constant batch with eps = 0 is 0/0.
    scale = (nan_std(valid, dim=0).square() + eps).sqrt()
    whitened = torch.where(centred == 0, centred, centred / scale)[0]
    if not shift_mean:
        whitened = whitened + valid.mean()
    return torch.zeros_like(values).masked_scatter(keep, whitened)
