"""DNO-Prct's pairs and replay: which response may be chosen over which, and how many old pairs return."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.sampling import dno_pair_mask, dno_replay_counts


@given(st.integers(0, 10**6), st.floats(0.1, 3), st.floats(0.1, 3), st.floats(-1, 6))
@settings(max_examples=60, deadline=None)
def test_no_response_is_chosen_over_itself_nor_both_ways(seed, margin, student_margin, min_positive):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 7, (4, 6), generator=generator).double()
    is_teacher = torch.randint(0, 2, (4, 6), generator=generator).bool()
    mask = dno_pair_mask(scores, is_teacher, min_positive, margin, student_margin)
    assert not mask.diagonal(dim1=1, dim2=2).any()
    assert not (mask & mask.transpose(1, 2)).any()
    assert (scores[:, :, None].expand_as(mask)[mask] >= min_positive).all()


def test_equal_scores_give_no_pair():
    assert not dno_pair_mask(torch.full((2, 5), 6.0), torch.zeros(2, 5), student_margin=1e-6).any()


def test_one_point_ahead_is_enough_for_the_student_and_not_for_the_teacher():
    scores = [[6.0, 5.0]]
    assert dno_pair_mask(scores, [[False, False]])[0, 0, 1]
    assert dno_pair_mask(scores, [[False, True]])[0, 0, 1]
    assert not dno_pair_mask(scores, [[True, False]])[0, 0, 1]
    assert dno_pair_mask([[6.0, 4.0]], [[True, False]])[0, 0, 1]


def test_a_positive_needs_the_minimum_score():
    assert not dno_pair_mask([[4.9, 0.0]], [[False, False]]).any()
    assert dno_pair_mask([[5.0, 0.0]], [[False, False]])[0, 0, 1]


def test_a_response_without_score_is_in_no_pair():
    mask = dno_pair_mask([[6.0, math.nan, 2.0]], [[False, False, False]])
    assert mask.nonzero().tolist() == [[0, 0, 2]]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"margin": 0.0}, "`margin` is 0.0"),
        ({"student_margin": -1.0}, "`student_margin` is -1.0"),
        ({"min_positive": math.nan}, "`min_positive` is nan"),
        ({"is_teacher": [[True]]}, "`is_teacher` has shape"),
        ({"scores": [1.0, 2.0]}, "`scores` has shape"),
    ],
)
def test_bad_arguments_of_the_pair_mask_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        dno_pair_mask(**{"scores": [[1.0, 2.0]], "is_teacher": [[True, False]]} | changes)


@given(st.lists(st.integers(0, 10**6), max_size=6), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_replay_never_exceeds_what_is_stored(sizes, fraction, decay):
    counts = dno_replay_counts(sizes, fraction, decay).tolist()
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))


def test_the_first_iteration_replays_nothing():
    counts = dno_replay_counts([])
    assert counts.dtype == torch.int64 and counts.shape == (0,)


def test_shares_halve_with_age_and_are_rounded_down():
    assert dno_replay_counts([10, 30, 99]).tolist() == [3, 4, 7]
    assert dno_replay_counts([100, 100], fraction=1.0, decay=0.0).tolist() == [100, 0]


@pytest.mark.parametrize("percent", range(101))
def test_an_exact_share_is_not_lost_to_rounding(percent):
    # 0.29 * 100 is 28.999999999999996 in floating point.
    assert dno_replay_counts([100], fraction=percent / 100).item() == percent


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"fraction": 1.1}, "`fraction` is 1.1"),
        ({"fraction": -0.1}, "`fraction` is -0.1"),
        ({"decay": math.nan}, "`decay` is nan"),
        ({"history_sizes": [3, -1]}, "`history_sizes` holds -1"),
        ({"history_sizes": [[3]]}, "`history_sizes` has shape"),
    ],
)
def test_bad_arguments_of_the_replay_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        dno_replay_counts(**{"history_sizes": [3]} | arguments)
