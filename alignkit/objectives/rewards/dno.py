"""DNO's reward (arXiv 2404.03715): the win rate of each response against the others."""

import torch

from ..arguments import Numbers
from ..probabilities import as_preferences


def dno_win_rates(preferences: Numbers) -> torch.Tensor:
    r"""Win rate of each response against the others, \( r_i = \frac{1}{K'-1} \sum_{j \ne i} P(y_i \succ y_j) \).

    SPPO's win rate includes the response itself (`sppo_win_rates`).

    Args:
        preferences: [N, K', K'], entry (n, i, j) = P(i beats j) in [0, 1], the gold response among the K'; the
            diagonal is ignored. NaN marks a failed judgement: it is left out of the mean.

    Returns:
        [N, K'] win rates, without gradient; NaN for a response of which no comparison was judged.

    Raises:
        ValueError: if the shape is not [N, K', K'] with K' at least 2, or an entry lies outside [0, 1].
    """
    matrix = as_preferences(preferences)
    if matrix.shape[-1] < 2:
        raise ValueError(
            f"`preferences` has shape {list(matrix.shape)}; a win rate against the others needs at least 2 responses."
        )
    diagonal = torch.eye(matrix.shape[-1], dtype=torch.bool, device=matrix.device)
    return matrix.masked_fill(diagonal, torch.nan).nanmean(-1)
