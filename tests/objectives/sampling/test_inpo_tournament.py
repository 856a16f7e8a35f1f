"""INPO's tournament: the number of comparisons, ties, and who wins and loses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.rewards import bradley_terry_preferences
from alignkit.objectives.sampling import inpo_tournament


@pytest.mark.parametrize("responses", [2, 4, 8, 16, 32])
def test_all_ties_use_three_halves_k_minus_one_comparisons_and_give_no_pair(responses):
    result = inpo_tournament(torch.full((3, responses, responses), 0.5))
    assert result.num_comparisons == 3 * responses // 2 - 1
    assert result.chosen.tolist() == [0] * 3 and result.rejected.tolist() == [responses - 1] * 3
    assert result.valid.tolist() == [False] * 3


@given(st.integers(0, 10**6), st.sampled_from([2, 4, 8, 16]))
@settings(max_examples=40, deadline=None)
def test_a_transitive_judge_yields_the_best_and_the_worst_response(seed, responses):
    scores = torch.randn(5, responses, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    result = inpo_tournament(bradley_terry_preferences(scores))
    assert torch.equal(result.chosen, scores.argmax(-1)) and torch.equal(result.rejected, scores.argmin(-1))
    assert result.valid.all()


@given(st.integers(0, 10**6), st.sampled_from([2, 4, 8]))
@settings(max_examples=60, deadline=None)
def test_brackets_are_those_of_a_tournament_played_one_by_one(seed, responses):
    upper = torch.rand(1, responses, responses, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    matrix = ((4 * upper).round() / 4).triu(1)[0]
    matrix = matrix + (1 - matrix.T).tril(-1)

    def meet(players, keep_winner):
        return [a if (matrix[a, b] >= 0.5) == keep_winner else b for a, b in zip(*[iter(players)] * 2, strict=True)]

    winners, losers = meet(range(responses), True), meet(range(responses), False)
    while len(winners) > 1:
        winners, losers = meet(winners, True), meet(losers, False)
    result = inpo_tournament(matrix[None])
    assert (result.chosen.item(), result.rejected.item()) == (winners[0], losers[0])
    assert result.valid.item() == (winners[0] != losers[0] and matrix[winners[0], losers[0]].item() > 0.5)


def test_a_winner_that_loses_to_the_loser_gives_no_pair():
    # 0 beats 1, 2 beats 3, 0 beats 2; 3 loses to 1; but 3 beats 0.
    matrix = torch.full((4, 4), 0.5)
    for winner, loser in ((0, 1), (2, 3), (0, 2), (1, 3), (3, 0)):
        matrix[winner, loser], matrix[loser, winner] = 0.9, 0.1
    result = inpo_tournament(matrix[None])
    assert (result.chosen.item(), result.rejected.item(), result.valid.item()) == (0, 3, False)


def test_a_failed_judgement_spoils_the_pair_only_where_the_tournament_meets_it():
    matrix = bradley_terry_preferences([[3.0, 2.0, 1.0, 0.0]] * 2)
    matrix[0, 2, 3] = math.nan
    matrix[1, 1, 2] = math.nan
    assert inpo_tournament(matrix).valid.tolist() == [False, True]


@pytest.mark.parametrize("responses", [1, 3, 6, 12])
def test_a_number_of_responses_that_is_no_power_of_two_is_refused(responses):
    with pytest.raises(ValueError, match=f"`preferences` holds {responses} responses"):
        inpo_tournament(torch.full((1, responses, responses), 0.5))


def test_probabilities_outside_the_unit_interval_are_refused():
    with pytest.raises(ValueError, match=r"`preferences` is 1\.5"):
        inpo_tournament([[[0.5, 1.5], [0.0, 0.5]]])
