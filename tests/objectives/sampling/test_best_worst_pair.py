"""The best against the worst response: ties, missing scores, and prompts that give no pair."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.sampling import best_worst_pair


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_ties_go_to_the_lowest_index_and_all_ties_give_no_pair(scores):
    pair = best_worst_pair([scores])
    assert pair.chosen.item() == scores.index(max(scores))
    assert pair.rejected.item() == scores.index(min(scores))
    assert pair.valid.item() == (max(scores) > min(scores))


def test_responses_without_score_are_left_out():
    scores = [[math.nan, 1.0, 3.0], [math.nan, 2.0, math.nan], [math.nan] * 3, [0.0, math.nan, -1.0]]
    pair = best_worst_pair(scores)
    assert pair.valid.tolist() == [True, False, False, True]
    assert pair.chosen[[0, 3]].tolist() == [2, 0] and pair.rejected[[0, 3]].tolist() == [1, 2]


def test_infinite_scores_are_scores():
    pair = best_worst_pair([[-math.inf, 0.0, math.inf], [-math.inf, -math.inf, math.nan]])
    assert pair.valid.tolist() == [True, False]
    assert (pair.chosen[0].item(), pair.rejected[0].item()) == (2, 0)


@pytest.mark.parametrize("scores", [[1.0, 2.0], torch.zeros(2, 0)])
def test_scores_of_another_shape_are_refused(scores):
    with pytest.raises(ValueError, match="`scores` has shape"):
        best_worst_pair(scores)
