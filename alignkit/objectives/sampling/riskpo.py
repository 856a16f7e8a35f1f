"""RiskPO (arXiv 2510.00911): bundles of prompts and the tracked quantiles of their scores."""

import torch

from ..arguments import Numbers, as_float, as_long, require_range
from ..groups import as_rewards, split_groups


def riskpo_permutation(
    permutation: Numbers | None, num_prompts: int, num_generations: int, device: torch.device | None = None
) -> torch.Tensor:
    """Return the permutations of the responses, int64 [M, G], the identity by default.

    Raises `ValueError` for another shape or a row that does not hold each of 0 to G - 1 once.
    """
    identity = torch.arange(num_generations, device=device).expand(num_prompts, -1)
    if permutation is None:
        return identity
    indices = as_long(permutation).to(identity.device)
    if indices.shape != identity.shape:
        raise ValueError(
            f"`permutation` has shape {list(indices.shape)}; expected {list(identity.shape)}, one row per prompt."
        )
    wrong = (indices.sort(dim=1).values != identity).any(dim=1).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"`permutation` row {wrong[0]} (0-based) is {indices[wrong[0]].tolist()}; every row must hold each of 0 to "
            f"{num_generations - 1} once."
        )
    return indices


def riskpo_members(
    rewards: Numbers, num_generations: int, bundle_size: int = 5, permutation: Numbers | None = None
) -> torch.Tensor:
    r"""Rewards arranged by bundle, \( [M/B, B, G] \): entry (b, i, j) is that of response \( \xi_i(j) \) of prompt i.

    Args and errors as `riskpo_bundle_scores`.
    """
    groups = split_groups(as_rewards(rewards, max_dim=1), num_generations)
    require_range("bundle_size", bundle_size, 1)
    if len(groups) % bundle_size:
        raise ValueError(
            f"`bundle_size` is {bundle_size}; it must divide the number of prompts, which is {len(groups)} "
            f"({groups.numel()} rewards / {num_generations} generations)."
        )
    order = riskpo_permutation(permutation, len(groups), num_generations, groups.device)
    return groups.gather(1, order).reshape(-1, bundle_size, num_generations)


def riskpo_bundle_scores(
    rewards: Numbers, num_generations: int, bundle_size: int = 5, permutation: Numbers | None = None
) -> torch.Tensor:
    r"""Score of each bundle member, \( R_j = \sum_i R(y_i^{\xi_i(j)}) \), over the B prompts i of the bundle.

    Args:
        rewards: [N], groups being consecutive runs of `num_generations` rows; detached.
        num_generations: G, at least 1, a divisor of N.
        bundle_size: B, consecutive prompts per bundle, at least 1, a divisor of the number of prompts M = N / G.
        permutation: int [M, G], row i the permutation \( \xi_i \) of the responses of prompt i; identity by default.

    Returns:
        [M / B, G] scores without gradient; NaN where one of the B rewards is NaN.

    Raises:
        ValueError: for another shape, incomplete groups or bundles, or rows that are no permutation.
    """
    return riskpo_members(rewards, num_generations, bundle_size, permutation).sum(dim=1)


def riskpo_update_quantiles(
    levels: Numbers, bundle_scores: Numbers, quantiles: Numbers | None = None, lr: float = 0.1
) -> torch.Tensor:
    r"""One step of the quantile tracker, \( q_s + \gamma (s - \frac{1}{n} \sum_j 1[R_j < q_s]) \).

    Args:
        levels: [S] probabilities s, each in (0, 1).
        bundle_scores: scores of any shape; NaN entries are ignored; detached.
        quantiles: [S] current quantiles; None starts from the empirical ones (linear interpolation) of the scores.
        lr: step size γ, at least 0, in units of the score.

    Returns:
        [S] quantiles in the dtype of the scores, unchanged when no score is valid. Each level is tracked by itself: the
        caller keeps them in order.

    Raises:
        ValueError: for a level outside (0, 1), a negative `lr`, shapes that differ, or no valid score to start from.
    """
    scores = as_float(bundle_scores).detach().flatten()
    probabilities = as_float(levels).detach().to(scores)
    if probabilities.dim() != 1:
        raise ValueError(f"`levels` has shape {list(probabilities.shape)}; expected [S].")
    for index, level in enumerate(probabilities.tolist()):
        require_range(f"levels[{index}]", level, 0.0, 1.0, low_open=True, high_open=True)
    require_range("lr", lr, 0.0)
    valid = scores[~scores.isnan()]
    if quantiles is None:
        if not len(valid):
            raise ValueError("`bundle_scores` holds no valid score; at least one is needed to start the quantiles.")
        return torch.quantile(valid, probabilities)
    current = as_float(quantiles).detach().to(scores)
    if current.shape != probabilities.shape:
        raise ValueError(
            f"`quantiles` has shape {list(current.shape)}; expected {list(probabilities.shape)}, one per level."
        )
    if not len(valid):
        return current
    below = (valid[:, None] < current).to(scores.dtype).mean(dim=0)
    return current + lr * (probabilities - below)
