"""SPPO's reward (arXiv 2405.00675): the win rate of each response against all of them, itself included."""

import torch

from ..arguments import Numbers
from ..probabilities import as_preferences


def sppo_win_rates(preferences: Numbers) -> torch.Tensor:
    r"""Win rate of each response, \( \hat P_i = \frac1K \sum_{k=1}^K P(y_i \succ y_k) \), with \( P(y_i \succ y_i) = \tfrac12 \).

    DNO's win rate leaves the response itself out (`dno_win_rates`).

    Args:
        preferences: [N, K, K], entry (n, i, j) = P(i beats j) in [0, 1]; the diagonal is ignored and taken as 0.5.
            NaN marks a failed judgement: it is left out of the mean.

    Returns:
        [N, K] win rates, without gradient; NaN for a response of which no comparison with another was judged.

    Raises:
        ValueError: if the shape is not [N, K, K] or an entry off the diagonal lies outside [0, 1].
    """
    matrix = as_preferences(preferences)
    unjudged = matrix.isnan().sum(-1) == matrix.shape[-1] - 1
    rates = matrix.nanmean(-1)
    return rates.masked_fill(unjudged, torch.nan) if matrix.shape[-1] > 1 else rates
