"""Two-stage MPO's split into easy and hard pairs, and the threshold for a given share."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.sampling import mpo_split, mpo_threshold


seeds = st.integers(0, 10**6)
selections = st.sampled_from(["absolute", "signed"])


def rewards(seed, size=20):
    """Integer rewards: exact ties and gaps equal to the threshold occur."""
    return torch.randint(-5, 6, (2, size), generator=torch.Generator().manual_seed(seed)).double()


@given(seeds, st.integers(0, 8), selections)
@settings(max_examples=60, deadline=None)
def test_sets_are_disjoint_and_hold_every_scorable_pair(seed, threshold, selection):
    chosen, rejected = rewards(seed)
    chosen[3] = rejected[7] = math.nan
    split = mpo_split(chosen, rejected, threshold, selection)
    assert not (split.easy & split.hard).any()
    assert (split.easy | split.hard).tolist() == [index not in (3, 7) for index in range(20)]
    assert (split.gap[split.hard] <= threshold).all() and (split.gap[split.easy] > threshold).all()


@given(seeds, st.integers(0, 8))
@settings(max_examples=30, deadline=None)
def test_swapping_the_responses_leaves_the_absolute_split_unchanged(seed, threshold):
    chosen, rejected = rewards(seed)
    assert torch.equal(mpo_split(chosen, rejected, threshold).easy, mpo_split(rejected, chosen, threshold).easy)


@given(seeds, st.integers(0, 8), selections)
@settings(max_examples=30, deadline=None)
def test_signed_pairs_against_their_label_are_never_easy(seed, threshold, selection):
    chosen, rejected = rewards(seed)
    easy = mpo_split(chosen, rejected, threshold, selection).easy
    against = chosen < rejected
    assert not (easy & against).any() or selection == "absolute"
    assert torch.equal(easy & ~against, mpo_split(chosen, rejected, threshold).easy & ~against)


@given(seeds, st.integers(0, 8), selections)
@settings(max_examples=30, deadline=None)
def test_a_constant_per_prompt_and_a_common_scale_change_nothing(seed, threshold, selection):
    chosen, rejected = rewards(seed)
    constant = rewards(seed + 1)[0]
    easy = mpo_split(chosen, rejected, threshold, selection).easy
    assert torch.equal(mpo_split(chosen + constant, rejected + constant, threshold, selection).easy, easy)
    assert torch.equal(mpo_split(4 * chosen, 4 * rejected, 4 * threshold, selection).easy, easy)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_threshold_zero_leaves_only_ties_hard_and_infinity_leaves_all_hard(seed):
    chosen, rejected = rewards(seed)
    assert torch.equal(mpo_split(chosen, rejected, 0.0).hard, chosen == rejected)
    assert mpo_split(chosen, rejected, math.inf).hard.all()


@given(seeds, st.integers(1, 40), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_threshold_leaves_exactly_the_share_easy_without_ties_and_never_more(seed, size, easy_fraction):
    gaps = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    zeros = torch.zeros(size, dtype=torch.float64)
    easy = mpo_split(gaps, zeros, mpo_threshold(gaps, easy_fraction)).easy
    assert easy.sum().item() == math.floor(easy_fraction * size)
    tied = (4 * gaps).round()
    assert mpo_split(tied, zeros, mpo_threshold(tied, easy_fraction)).easy.sum().item() <= easy_fraction * size


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threshold_and_split_agree_in_lower_precision(dtype):
    scores = torch.randn(2, 101, generator=torch.Generator().manual_seed(0)).to(dtype)
    gap = mpo_split(*scores, 0.0).gap
    easy = mpo_split(*scores, mpo_threshold(gap, 0.3)).easy
    assert gap.dtype == torch.float32 and easy.sum().item() <= 30


def test_gaps_that_are_not_finite_do_not_count():
    assert mpo_threshold([1.0, math.nan, 2.0, math.inf, 3.0, 4.0], 0.5) == 2.0
    with pytest.raises(ValueError, match="`gaps` holds no finite number among 2"):
        mpo_threshold([math.nan, math.nan])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"threshold": -0.5}, "`threshold` is -0.5"),
        ({"threshold": math.nan}, "`threshold` is nan"),
        ({"selection": "largest"}, "`selection` is 'largest'; valid values: 'absolute', 'signed'"),
        ({"rejected_rewards": [0.0]}, "`rejected_rewards` has shape"),
    ],
)
def test_bad_arguments_of_the_split_are_refused_by_name(changes, message):
    arguments = {"chosen_rewards": [1.0, 2.0], "rejected_rewards": [0.0, 1.0], "threshold": 0.5}
    with pytest.raises(ValueError, match=message):
        mpo_split(**arguments | changes)


@pytest.mark.parametrize("easy_fraction", [0.0, 1.0, -0.2, math.nan])
def test_a_share_outside_zero_and_one_is_refused(easy_fraction):
    with pytest.raises(ValueError, match="`easy_fraction` is"):
        mpo_threshold([1.0, 2.0], easy_fraction)
