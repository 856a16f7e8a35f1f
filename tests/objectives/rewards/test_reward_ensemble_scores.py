"""Reward ensembles: the three objectives, missing members, and the best-of-n estimator."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.rewards import best_of_n, best_of_n_kl, reward_ensemble


seeds = st.integers(0, 10**6)
objectives = st.sampled_from(["mean", "wco", "uwo"])


def scores(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, st.integers(1, 6), st.floats(0, 5))
@settings(max_examples=40, deadline=None)
def test_conservative_objectives_never_exceed_the_mean(seed, members, coef):
    rewards = scores(seed, 7, members)
    mean = reward_ensemble(rewards)
    assert (reward_ensemble(rewards, "wco") <= mean + 1e-12).all()
    assert (reward_ensemble(rewards, "uwo", coef) <= mean + 1e-12).all()
    torch.testing.assert_close(reward_ensemble(rewards, "uwo", 0.0), mean)


@given(seeds, objectives, st.floats(0, 5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_one_member_or_identical_members_give_that_member(seed, objective, coef, unbiased):
    single = scores(seed, 7, 1)
    torch.testing.assert_close(reward_ensemble(single, objective, coef, unbiased), single[:, 0])
    torch.testing.assert_close(reward_ensemble(single.expand(7, 4), objective, coef, unbiased), single[:, 0])


@given(seeds, objectives, st.floats(0, 5))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_members_does_not_matter_and_a_constant_shifts_the_score(seed, objective, coef):
    rewards = scores(seed, 7, 5)
    score = reward_ensemble(rewards, objective, coef)
    torch.testing.assert_close(reward_ensemble(rewards[:, [3, 0, 4, 1, 2]], objective, coef), score)
    torch.testing.assert_close(reward_ensemble(rewards + 3, objective, coef), score + 3)


@given(seeds, st.floats(0.1, 10))
@settings(max_examples=40, deadline=None)
def test_the_variance_penalty_scales_with_the_square_of_the_rewards(seed, factor):
    rewards = scores(seed, 7, 5)
    for objective in ("mean", "wco"):
        torch.testing.assert_close(
            reward_ensemble(factor * rewards, objective), factor * reward_ensemble(rewards, objective)
        )
    penalty = reward_ensemble(rewards) - reward_ensemble(rewards, "uwo", 0.3)
    scaled = reward_ensemble(factor * rewards) - reward_ensemble(factor * rewards, "uwo", 0.3)
    torch.testing.assert_close(scaled, factor**2 * penalty)


def test_the_unbiased_variance_divides_by_one_less():
    rewards = scores(0, 3, 5)
    for unbiased in (False, True):
        expected = rewards.mean(-1) - 0.4 * rewards.var(-1, unbiased=unbiased)
        torch.testing.assert_close(reward_ensemble(rewards, "uwo", 0.4, unbiased), expected)


@given(seeds, st.floats(0.01, 3))
@settings(max_examples=40, deadline=None)
def test_raising_an_outlier_lowers_the_uncertainty_weighted_score(seed, coef):
    rewards = scores(seed, 6, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(reward_ensemble(rewards, "uwo", coef).sum(), rewards)
    deviation = rewards.detach() - rewards.detach().mean(-1, keepdim=True)
    torch.testing.assert_close(gradient, 1 / 4 - 2 * coef * deviation / 4)
    assert ((gradient < 0) == (deviation > 1 / (2 * coef))).all()


@given(seeds, objectives, st.integers(0, 4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_member_without_score_is_left_out(seed, objective, missing, unbiased):
    rewards = scores(seed, 7, 5)
    others = [index for index in range(5) if index != missing]
    expected = reward_ensemble(rewards[:, others], objective, 0.3, unbiased)
    rewards[:, missing] = math.nan
    rewards.requires_grad_()
    score = reward_ensemble(rewards, objective, 0.3, unbiased)
    torch.testing.assert_close(score, expected)
    (gradient,) = torch.autograd.grad(score.sum(), rewards)
    assert gradient.isfinite().all() and (gradient[:, missing] == 0).all()


@pytest.mark.parametrize("objective", ["mean", "wco", "uwo"])
def test_a_completion_that_no_member_scored_is_nan(objective):
    score = reward_ensemble([[math.nan, math.nan], [1.0, math.nan]], objective)
    assert score[0].isnan() and score[1] == 1.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_combined_in_float32(dtype):
    rewards = torch.tensor([[300.0, -300.0], [1.0, 1.0078125]], dtype=dtype)
    score = reward_ensemble(rewards, "uwo", 0.5)
    assert score.dtype == torch.float32 and score[0] == -45000.0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"objective": "median"}, "`objective` is 'median'; valid values: 'mean', 'wco', 'uwo'"),
        ({"coef": -0.1}, "`coef` is -0.1"),
        ({"coef": math.nan}, "`coef` is nan"),
        ({"rewards": [1.0, 2.0]}, r"`rewards` has shape \[2\]"),
        ({"rewards": torch.zeros(3, 0)}, r"`rewards` has shape \[3, 0\]"),
    ],
)
def test_bad_arguments_of_the_ensemble_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        reward_ensemble(**{"rewards": [[1.0, 2.0]]} | arguments)


@pytest.mark.parametrize("n", range(1, 8))
def test_best_of_n_equals_the_average_over_all_subsets(n):
    proxy, gold = scores(1, 3, 7), scores(2, 3, 7)
    estimate = best_of_n(proxy, gold, n)
    subsets = torch.tensor(list(itertools.combinations(range(7), n)))
    picked = proxy[:, subsets].argmax(-1)
    expected = torch.stack([gold[row][subsets[torch.arange(len(subsets)), picked[row]]].mean() for row in range(3)])
    torch.testing.assert_close(estimate.gold, expected)
    torch.testing.assert_close(estimate.proxy, proxy[:, subsets].amax(-1).mean(-1))


def test_best_of_one_is_the_mean_and_best_of_all_the_top_proxy_sample():
    proxy, gold = scores(3, 4, 9), scores(4, 4, 9)
    torch.testing.assert_close(best_of_n(proxy, gold, 1).gold, gold.mean(-1))
    torch.testing.assert_close(best_of_n(proxy, gold, 9).gold, gold.gather(1, proxy.argmax(1, keepdim=True))[:, 0])


def test_equal_proxy_scores_keep_their_order_so_the_last_one_wins():
    assert best_of_n([[1.0, 1.0, 0.0]], [[5.0, 7.0, 9.0]], 3).gold.item() == 7.0


@given(seeds, st.integers(1, 29))
@settings(max_examples=30, deadline=None)
def test_expected_proxy_score_never_falls_with_n(seed, n):
    proxy = scores(seed, 2, 30)
    assert (best_of_n(proxy, proxy, n + 1).proxy >= best_of_n(proxy, proxy, n).proxy - 1e-12).all()


@pytest.mark.parametrize("n", [1, 2, 100, 6000, 12500, 12600])
def test_best_of_n_is_exact_where_the_binomials_overflow(n):
    size = 12600
    ranks = torch.arange(1, size + 1, dtype=torch.float64)[None]
    # The expected largest rank of a subset of n out of N is n (N + 1) / (n + 1).
    assert best_of_n(ranks, ranks, n).proxy.item() == pytest.approx(n * (size + 1) / (n + 1), rel=1e-10)
    torch.testing.assert_close(
        best_of_n(ranks, torch.ones_like(ranks), n).gold, torch.ones(1, dtype=torch.float64), atol=1e-10, rtol=0
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"n": 0}, r"`n` is 0; valid range: \[1, 3\]"),
        ({"n": 4}, "`n` is 4"),
        ({"gold_scores": [[1.0, 2.0]]}, "`gold_scores` has shape"),
        ({"proxy_scores": [1.0, 2.0, 3.0]}, "`proxy_scores` has shape"),
        ({"proxy_scores": [[1.0, math.nan, 3.0]]}, "`proxy_scores` is NaN in row 0"),
        ({"gold_scores": [[1.0, math.nan, 3.0]]}, "`gold_scores` is NaN in row 0"),
    ],
)
def test_bad_arguments_of_best_of_n_are_refused_by_name(changes, message):
    arguments = {"proxy_scores": [[1.0, 2.0, 3.0]], "gold_scores": [[1.0, 2.0, 3.0]], "n": 2}
    with pytest.raises(ValueError, match=message):
        best_of_n(**arguments | changes)


def test_kl_of_best_of_n_starts_at_zero_and_grows():
    values = [best_of_n_kl(n) for n in (1, 2, 3, 10, 1000)]
    assert values[0] == 0.0 and values == sorted(values) and len(set(values)) == 5
    with pytest.raises(ValueError, match="`n` is 0"):
        best_of_n_kl(0)
