"""RiskPO's bundle scores and quantile tracker."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.sampling import riskpo_bundle_scores, riskpo_update_quantiles


few = settings(max_examples=20, deadline=None, derandomize=True)


@given(seed=st.integers(0, 2**31 - 1), bundle_size=st.sampled_from([1, 2, 3, 6]))
@few
def test_every_response_enters_exactly_one_score(seed, bundle_size):
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(24, generator=generator, dtype=torch.float64)
    order = torch.stack([torch.randperm(4, generator=generator) for _ in range(6)])
    scores = riskpo_bundle_scores(rewards, 4, bundle_size, order)
    assert scores.shape == (6 // bundle_size, 4)
    torch.testing.assert_close(scores.sum(dim=1), rewards.view(-1, bundle_size * 4).sum(dim=1))


def test_a_missing_reward_makes_its_member_unscorable():
    scores = riskpo_bundle_scores([1.0, math.nan, 2.0, 3.0], 2, 2)
    assert scores[0, 0] == 3.0 and scores[0, 1].isnan()


@pytest.mark.parametrize(
    "match, args",
    [
        ("3 rows", ([1.0, 2.0, 3.0], 2, 1)),
        ("bundle_size", ([1.0, 2.0], 2, 2)),
        ("permutation", ([1.0, 2.0], 2, 1, [[0, 2]])),
        ("rewards", ([[1.0, 2.0]], 1, 1)),
    ],
)
def test_bad_bundles_are_refused_by_name(match, args):
    with pytest.raises(ValueError, match=match):
        riskpo_bundle_scores(*args)


def test_the_tracker_rests_where_the_share_below_is_the_level():
    scores = torch.arange(10.0)
    assert riskpo_update_quantiles([0.3], scores, [2.5], lr=5.0).tolist() == pytest.approx([2.5])
    assert riskpo_update_quantiles([0.3], scores, [0.5], lr=1.0).item() == pytest.approx(0.7)
    assert riskpo_update_quantiles([0.3], scores, [9.5], lr=1.0).item() == pytest.approx(8.8)


def test_the_tracker_converges_on_independent_scores():
    generator = torch.Generator().manual_seed(0)
    quantiles = torch.tensor([5.0, -5.0], dtype=torch.float64)
    for step in range(3000):
        scores = torch.randn(20, generator=generator, dtype=torch.float64)
        quantiles = riskpo_update_quantiles([0.2, 0.8], scores, quantiles, lr=1 / (1 + step / 100))
    assert quantiles.tolist() == pytest.approx([-0.8416, 0.8416], abs=0.06)


def test_the_first_quantiles_are_empirical_and_missing_scores_are_ignored():
    scores = torch.tensor([[0.0, math.nan], [1.0, 2.0]], dtype=torch.float64)
    assert riskpo_update_quantiles([0.25, 0.5], scores).tolist() == [0.5, 1.0]
    tracked = riskpo_update_quantiles([0.25], scores, [1.5], lr=1.0)
    assert tracked.item() == pytest.approx(1.5 + 0.25 - 2 / 3)


def test_without_a_valid_score_the_quantiles_stay_and_cannot_start():
    scores = torch.full((2, 2), math.nan)
    assert riskpo_update_quantiles([0.2], scores, [1.5]).tolist() == [1.5]
    with pytest.raises(ValueError, match="bundle_scores"):
        riskpo_update_quantiles([0.2], scores)


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("levels", {"levels": [0.2, 1.0]}),
        ("levels", {"levels": [0.0, 0.8]}),
        ("levels", {"levels": 0.5}),
        ("lr", {"lr": -0.1}),
        ("quantiles", {"quantiles": [0.0]}),
    ],
)
def test_bad_tracker_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        riskpo_update_quantiles(**{"levels": [0.2, 0.8], "bundle_scores": [0.0, 1.0], **kwargs})


def test_scores_equal_to_the_quantile_do_not_lie_below_it():
    assert riskpo_update_quantiles([0.5], [1.0, 1.0, 2.0], [1.0], lr=1.0).item() == pytest.approx(1.5)
