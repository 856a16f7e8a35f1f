"""GDPO (arXiv 2601.05242): every reward normalised in its group before the weighted sum."""

import torch

from ..arguments import Numbers, require_range
from ..groups import as_rewards, as_weights, centre, nan_std, split_groups, standardise, zero_nan


def gdpo_advantages(
    rewards: Numbers,
    num_generations: int,
    reward_weights: Numbers | None = None,
    batch_normalize: bool = True,
    eps: float = 1e-4,
) -> torch.Tensor:
    r"""Advantage of each completion from rewards that were normalised one by one.

    \( A_{k} = (r_{k} - \bar r_k) / (\sigma_k + \epsilon) \) in the group (Eq. 4), \( S = \sum_k w_k A_k \) (Eq. 5), and
    with `batch_normalize` \( \hat A = (S - \bar S) / (\sigma_S + \epsilon) \) over the batch (Eq. 6). The weights act on
    normalised advantages, not on rewards. Standard deviations are unbiased. With `batch_normalize` the same as
    `trl.GRPOTrainer` with `multi_objective_aggregation="normalize_then_sum"`, also for K = 1.

    Args:
        rewards: [N, K], or [N] for K = 1, groups being consecutive runs of `num_generations` rows; NaN where a reward
            function gave none; detached.
        num_generations: G, at least 1, a divisor of N. With G = 2 a group keeps only the sign of each difference.
        reward_weights: K finite numbers, all 1 by default.
        batch_normalize: whether to whiten S over the batch.
        eps: added to both standard deviations, at least 0.

    Returns:
        [N] advantages without gradient. A reward with fewer than two valid entries in a group counts 0 there; a row
        without any reward is left out of the batch statistics and gets 0.

    Raises:
        ValueError: for another shape, incomplete groups or a wrong number of weights.
    """
    require_range("eps", eps, 0.0)
    values = as_rewards(rewards)
    columns = values[:, None] if values.dim() == 1 else values
    weights = as_weights(reward_weights, columns)
    normalised = standardise(split_groups(columns, num_generations), eps).reshape(columns.shape)
    summed = torch.where(columns.isnan().all(dim=1), torch.nan, (normalised * weights).nansum(dim=1))
    if batch_normalize:
        summed = centre(summed[None])[0] / (nan_std(summed, dim=0) + eps)
    return zero_nan(summed)
