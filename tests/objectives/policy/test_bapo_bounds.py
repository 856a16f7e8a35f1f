"""BAPO's search for clip bounds and the loss at them."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_batches import few, gradient, seeds, token_batch

from alignkit.objectives.policy import (
    Contributions,
    bapo_clip_bounds,
    bapo_contributions,
    bapo_grid,
    bapo_loss,
    bapo_positive_share,
    bapo_search,
    grpo_loss,
)


contributions = st.sampled_from(["surrogate", "active"])
orders = st.sampled_from(["high_first", "low_first"])


def search_args(batch):
    return batch.logps, batch.old_logps, batch.advantages, batch.mask


@given(seed=seeds, epsilon_low=st.floats(0.01, 0.5), epsilon_high=st.floats(0.01, 0.9))
@few
def test_symmetric_bounds_give_the_clipped_loss_of_grpo(seed, epsilon_low, epsilon_high):
    batch = token_batch(seed)
    torch.testing.assert_close(
        bapo_loss(*search_args(batch), low=1 - epsilon_low, high=1 + epsilon_high),
        grpo_loss(*search_args(batch), epsilon_low, epsilon_high),
    )


@given(seed=seeds, contribution=contributions, order=orders)
@few
def test_a_target_of_zero_leaves_the_bounds_at_their_start(seed, contribution, order):
    bounds = bapo_clip_bounds(*search_args(token_batch(seed)), target=0.0, contribution=contribution, order=order)
    assert (bounds.low, bounds.high) == (0.6, 1.2)


@given(seed=seeds, contribution=contributions)
@few
def test_the_share_moves_with_the_bounds_as_the_page_says(seed, contribution):
    batch = token_batch(seed, spread=0.8)
    by_high = [bapo_positive_share(*search_args(batch), 0.7, high, contribution) for high in bapo_grid(1.2, 3.0, 0.1)]
    assert all(b >= a - 1e-12 for a, b in itertools.pairwise(by_high))
    by_low = [bapo_positive_share(*search_args(batch), low, 1.5, contribution) for low in bapo_grid(0.6, 0.9, 0.02)]
    sign = -1 if contribution == "surrogate" else 1
    assert all(sign * (b - a) >= -1e-12 for a, b in itertools.pairwise(by_low))


@given(seed=seeds, target=st.floats(0.0, 0.99), contribution=contributions, order=orders)
@few
def test_the_search_ends_at_the_target_or_at_both_ends(seed, target, contribution, order):
    batch = token_batch(seed, spread=0.8)
    bounds = bapo_clip_bounds(*search_args(batch), target=target, contribution=contribution, order=order)
    assert 0.6 <= bounds.low <= 0.9 and 1.2 <= bounds.high <= 3.0
    at_the_end = bounds.low == pytest.approx(0.9) and bounds.high == pytest.approx(3.0)
    assert bounds.positive_share >= target or at_the_end
    share = bapo_positive_share(*search_args(batch), bounds.low, bounds.high, contribution)
    assert bounds.positive_share == pytest.approx(share)


@given(seed=seeds, target=st.floats(0.3, 0.99), contribution=contributions)
@few
def test_the_bound_that_goes_first_ends_before_the_other_moves(seed, target, contribution):
    args = search_args(token_batch(seed, spread=0.8))
    high_first = bapo_clip_bounds(*args, target=target, contribution=contribution, order="high_first")
    assert high_first.low == 0.6 or high_first.high == pytest.approx(3.0)
    low_first = bapo_clip_bounds(*args, target=target, contribution=contribution, order="low_first")
    assert low_first.high == 1.2 or low_first.low == pytest.approx(0.9)


def test_one_signed_batches_and_empty_ones():
    batch = token_batch(0, full=True)
    size = batch.advantages.abs()
    ends = (pytest.approx(0.9), pytest.approx(3.0))
    assert bapo_clip_bounds(batch.logps, batch.old_logps, size, batch.mask) == (0.6, 1.2, 1.0)
    assert bapo_clip_bounds(batch.logps, batch.old_logps, -size, batch.mask) == (*ends, 0.0)
    assert bapo_clip_bounds(batch.logps, batch.old_logps, 0 * size, batch.mask) == (0.6, 1.2, 1.0)
    assert bapo_clip_bounds(batch.logps, batch.old_logps, size, torch.zeros_like(batch.mask)) == (0.6, 1.2, 1.0)


@given(seed=seeds, scale=st.sampled_from([0.25, 2.0, 1024.0]), contribution=contributions)
@few
def test_scaling_advantages_or_permuting_rows_changes_no_bound(seed, scale, contribution):
    batch = token_batch(seed, spread=0.8)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    bounds = bapo_clip_bounds(*search_args(batch), contribution=contribution)
    scaled = batch._replace(advantages=scale * batch.advantages)
    assert bapo_clip_bounds(*search_args(scaled), contribution=contribution)[:2] == bounds[:2]
    permuted = type(batch)(*(value[order] for value in batch))
    assert bapo_clip_bounds(*search_args(permuted), contribution=contribution)[:2] == bounds[:2]


@given(seed=seeds, target=st.floats(0.1, 0.9), contribution=contributions)
@few
def test_contributions_of_two_ranks_add_up_to_the_search_on_the_whole_batch(seed, target, contribution):
    batch = token_batch(seed, rows=6, spread=0.8)
    lows, highs = bapo_grid(0.6, 0.9, 0.02), bapo_grid(1.2, 3.0, 0.05)
    assert (len(lows), len(highs)) == (16, 37)
    parts = [
        bapo_contributions(*(value[rows] for value in search_args(batch)), lows, highs, contribution)
        for rows in (slice(0, 2), slice(2, 6))
    ]
    total = Contributions(*(first + second for first, second in zip(*parts, strict=True)))
    reduced = bapo_search(total, lows, highs, target)
    whole = bapo_clip_bounds(*search_args(batch), target=target, contribution=contribution)
    assert reduced[:2] == whole[:2]
    assert reduced.positive_share == pytest.approx(whole.positive_share)


@given(seed=seeds)
@few
def test_gradients_stop_exactly_beyond_the_bound_that_matters(seed):
    batch = token_batch(seed, full=True, spread=0.8)
    ratio, positive = (batch.logps - batch.old_logps).exp(), batch.advantages[:, None] > 0
    stopped = torch.where(positive, ratio > 1.4, ratio < 0.7)
    grad = gradient(
        lambda x: bapo_loss(x, batch.old_logps, batch.advantages, batch.mask, low=0.7, high=1.4), batch.logps
    )
    assert torch.equal(grad == 0, stopped)


def test_dual_clip_caps_the_loss_of_negative_advantages():
    loss = bapo_loss([[3.0, 3.0, 0.0]], [[0.0, 0.0, 0.0]], [[-2.0, 2.0, -2.0]], [[1, 1, 1]], 0.6, 1.2, dual_clip=3.0)
    assert loss.tolist() == [[6.0, pytest.approx(-2.4), 2.0]]


def test_a_last_partial_step_is_not_made():
    assert bapo_grid(0.6, 0.9, 0.2) == [0.6, 0.8]
    assert bapo_grid(0.8, 0.8, 0.1) == [0.8]


def test_a_fixed_lower_range_still_lets_the_upper_bound_move():
    batch = token_batch(0, full=True)
    advantages = torch.tensor([-1.0, -1.0, -1.0, 0.1])
    bounds = bapo_clip_bounds(batch.logps, batch.old_logps, advantages, batch.mask, low_start=0.8, low_max=0.8)
    assert bounds.low == 0.8 and bounds.high == pytest.approx(3.0)


@pytest.mark.parametrize(
    "name, value",
    [
        ("target", 1.0),
        ("target", -0.1),
        ("low_start", 0.95),
        ("low_start", -0.1),
        ("low_max", 1.1),
        ("low_step", 0.0),
        ("high_start", 0.9),
        ("high_max", 1.1),
        ("high_max", math.inf),
        ("high_step", -1.0),
        ("order", "both"),
        ("contribution", "all"),
    ],
)
def test_search_arguments_outside_their_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        bapo_clip_bounds(*search_args(token_batch(0)), **{name: value})


@pytest.mark.parametrize(
    "low, high, dual_clip", [(1.1, 1.2, None), (-0.1, 1.2, None), (0.5, 0.9, None), (0.5, 1.2, 1.0)]
)
def test_bounds_that_do_not_enclose_one_are_refused(low, high, dual_clip):
    with pytest.raises(ValueError, match=r"low|high|dual_clip"):
        bapo_loss(*search_args(token_batch(0)), low, high, dual_clip)
