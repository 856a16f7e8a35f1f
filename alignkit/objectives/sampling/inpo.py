"""INPO's pair rule (arXiv 2407.00617): a tournament finds a winner and a loser with 3K/2 - 1 comparisons."""

from typing import NamedTuple

import torch

from ..arguments import Numbers
from ..probabilities import as_preferences


class Tournament(NamedTuple):
    """Winner and loser of each prompt's tournament and whether they make a pair, [N] each; comparisons per prompt."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    valid: torch.Tensor
    num_comparisons: int


def inpo_tournament(preferences: Numbers) -> Tournament:
    """Winner and loser of a knock-out tournament among the K responses to each prompt.

    Round one pairs (0, 1), (2, 3), ...; then winners meet winners and the winner goes on, losers meet losers and the
    loser goes on, until one of each is left. The first of two wins if P(first beats second) >= 0.5. At last the winner
    is compared with the loser, and the pair is valid only if P(winner beats loser) > 0.5.

    Args:
        preferences: [N, K, K], entry (n, i, j) = P(i beats j) in [0, 1]; the diagonal is ignored. K is a power of two,
            at least 2. A failed judgement (NaN) that the tournament meets makes the prompt's pair invalid.

    Returns:
        `Tournament(chosen [N] int64, rejected [N] int64, valid [N] bool, num_comparisons)`, the last one 3K/2 - 1, the
        number of judgements for each prompt.

    Raises:
        ValueError: if the shape is not [N, K, K], K is not a power of two >= 2, or an entry lies outside [0, 1].
    """
    matrix = as_preferences(preferences)
    num_prompts, num_responses = matrix.shape[0], matrix.shape[1]
    if num_responses < 2 or num_responses & (num_responses - 1):
        raise ValueError(f"`preferences` holds {num_responses} responses; the tournament needs a power of two >= 2.")
    players = torch.arange(num_responses, device=matrix.device).expand(num_prompts, -1)
    failed = torch.zeros(num_prompts, dtype=torch.bool, device=matrix.device)
    comparisons = 0

    def play(players: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Winners and losers of neighbouring players, [N, M] -> two of [N, M/2]."""
        nonlocal failed, comparisons
        first, second = players[:, 0::2], players[:, 1::2]
        rates = matrix[torch.arange(num_prompts, device=matrix.device)[:, None], first, second]
        failed = failed | rates.isnan().any(-1)
        comparisons += first.shape[1]
        return torch.where(rates >= 0.5, first, second), torch.where(rates >= 0.5, second, first)

    winners, losers = play(players)
    while winners.shape[1] > 1:
        winners, losers = play(winners)[0], play(losers)[1]
    chosen, rejected = winners[:, 0], losers[:, 0]
    final = matrix[torch.arange(num_prompts, device=matrix.device), chosen, rejected]
    return Tournament(chosen, rejected, valid=(final > 0.5) & ~failed, num_comparisons=comparisons + 1)
