"""HAPO (arXiv 2509.16591), part B: group statistics in which every token counts once."""

import torch

from ..arguments import Numbers, as_bool, require_range
from ..groups import centre, require_token_rows, split_groups, sum_rewards


def hapo_advantages(rewards: Numbers, num_generations: int, mask: Numbers, eps: float = 1e-6) -> torch.Tensor:
    r"""Advantage of each token, \( A_{it} = (R_i - \mu) / (\sigma + \epsilon) \) (Eq. 9).

    \( \mu \) and \( \sigma \) (population) are over all tokens of the group: \( R_i \) counts \( |o_i| \) times, so that
    long failures do not outweigh short successes.

    Args:
        rewards: [N] or [N, K] (summed), groups being consecutive runs of `num_generations` rows; NaN where a reward
            function gave none; detached.
        num_generations: G, at least 1, a divisor of N.
        mask: [N, T], non-zero at the tokens that count.
        eps: added to the standard deviation, at least 0.

    Returns:
        [N, T] advantages without gradient, 0 where masked; a row without any reward or token has weight 0.

    Raises:
        ValueError: for another shape or incomplete groups.
    """
    require_range("eps", eps, 0.0)
    summed = sum_rewards(rewards)
    keep = as_bool(mask).to(summed.device)
    require_token_rows("mask", keep, len(summed))
    counted = torch.where(keep.any(dim=1), summed, torch.nan)
    groups = split_groups(counted, num_generations)
    tokens = torch.where(groups.isnan(), 0.0, keep.sum(dim=1).to(summed).view_as(groups))
    total = tokens.sum(dim=1, keepdim=True).clamp(min=1)
    # Centred twice: the first subtraction makes groups of equal rewards exactly 0.
    deviation = torch.where(groups.isnan(), 0.0, centre(groups))
    deviation = deviation - (tokens * deviation).sum(dim=1, keepdim=True) / total
    scale = ((tokens * deviation.square()).sum(dim=1, keepdim=True) / total).sqrt()
    advantages = torch.where(groups.isnan(), 0.0, deviation / (scale + eps)).flatten()
    # A constant group with eps = 0 is 0/0.
    return torch.where(keep & ~advantages.isnan()[:, None], advantages[:, None], 0.0)
