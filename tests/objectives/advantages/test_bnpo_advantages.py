"""BNPO's Beta normalisation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_tables import few, rewards_of, seeds

from alignkit.objectives.advantages import (
    bnpo_advantages,
    bnpo_beta_parameters,
    bnpo_pass_rates,
    grpo_advantages,
)


def uniform(seed, columns=None):
    """Rewards in [0, 1]."""
    return rewards_of(seed, columns=columns).sigmoid()


@given(seed=seeds)
@few
def test_a_flat_density_gives_the_centred_rewards(seed):
    rewards = uniform(seed)
    flat = bnpo_advantages(3 * rewards - 1, 4, reward_min=-1.0, reward_max=2.0, alpha=1.0, beta=1.0)
    torch.testing.assert_close(flat, grpo_advantages(rewards, 4, "none"))


@given(seed=seeds)
@few
def test_three_halves_give_grpo_with_the_population_spread_of_binary_rewards(seed):
    rewards = rewards_of(seed, binary=True)
    groups = rewards.view(-1, 4)
    rates = groups.mean(dim=1, keepdim=True)
    spread = (rates * (1 - rates)).sqrt()
    expected = torch.where(spread > 0, math.pi / 8 * (groups - rates) / spread, 0.0)
    torch.testing.assert_close(bnpo_advantages(rewards, 4, alpha=1.5, beta=1.5), expected.flatten())


@given(seed=seeds, alpha=st.floats(0.2, 50.0), beta=st.floats(0.2, 50.0))
@few
def test_groups_sum_to_zero_and_decided_ones_give_zero(seed, alpha, beta):
    rewards = rewards_of(seed, binary=True)
    for advantages in (bnpo_advantages(rewards, 4), bnpo_advantages(rewards, 4, alpha=alpha, beta=beta)):
        groups = advantages.view(-1, 4)
        assert groups.isfinite().all()
        torch.testing.assert_close(groups.sum(dim=1) / groups.abs().amax().clamp(min=1), torch.zeros(4).double())
        rates = rewards.view(-1, 4).mean(dim=1)
        assert (groups[(rates == 0) | (rates == 1)] == 0).all()


@pytest.mark.parametrize("a, b", [(2.0, 4.0), (5.0, 1.5)])
def test_the_fit_recovers_a_third_of_the_parameters_above_one(a, b):
    torch.manual_seed(0)
    rates = torch.distributions.Beta(torch.tensor(a).double(), torch.tensor(b).double()).sample((200_000,))
    fitted = bnpo_beta_parameters(rates)
    assert fitted == pytest.approx((1 + a / 3, 1 + b / 3), abs=0.03)


def test_the_fitted_parameters_minimise_the_second_moment_of_the_gradient():
    a, b = 2.0, 4.0

    def log_beta(x, y):
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    def moment(alpha, beta):
        return 2 * log_beta(alpha, beta) + log_beta(a + 3 - 2 * alpha, b + 3 - 2 * beta) - log_beta(a, b)

    best = moment(1 + a / 3, 1 + b / 3)
    for step_a, step_b in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1), (0.1, 0.1)):
        assert moment(1 + a / 3 + step_a, 1 + b / 3 + step_b) > best


@pytest.mark.parametrize(
    "rates", [[0.0, 1.0, 0.0, 1.0], [0.01, 0.99], [0.5, 0.5], [0.3], [], [math.nan, 0.4], [1.0, 1.0, 1.0]]
)
def test_u_shaped_equal_or_too_few_pass_rates_give_a_flat_density(rates):
    assert bnpo_beta_parameters(rates) == (1.0, 1.0)


@given(seed=seeds, factor=st.floats(0.1, 50.0), shift=st.floats(-20.0, 20.0))
@few
def test_affine_rewards_with_their_bounds_give_the_same_advantages(seed, factor, shift):
    rewards = uniform(seed)
    low, high = shift - 1e-6, factor + shift + 1e-6
    changed = bnpo_advantages(factor * rewards + shift, 4, reward_min=low, reward_max=high)
    torch.testing.assert_close(changed, bnpo_advantages(rewards, 4), atol=1e-4, rtol=1e-3)


@given(seed=seeds)
@few
def test_identical_reward_columns_count_as_one(seed):
    rewards = uniform(seed)
    copies = rewards[:, None].expand(-1, 3)
    torch.testing.assert_close(bnpo_advantages(copies, 4), bnpo_advantages(rewards, 4))


def test_several_rewards_are_normalised_each_by_itself():
    table = uniform(0, columns=2) * torch.tensor([1.0, 4.0])
    both = bnpo_advantages(table, 4, reward_max=[1.0, 4.0], reward_weights=[1.0, 3.0])
    parts = [bnpo_advantages(table[:, k], 4, reward_max=bound) for k, bound in ((0, 1.0), (1, 4.0))]
    torch.testing.assert_close(both, (parts[0] + 3 * parts[1]) / 2)


def test_prompts_near_the_bulk_of_the_pass_rates_weigh_least():
    rates = torch.tensor([0.5, 0.5, 0.45, 0.55, 0.5, 0.1], dtype=torch.float64)
    rewards = (torch.arange(20) < 20 * rates[:, None]).double()
    advantages = bnpo_advantages(rewards.flatten(), 20).view(6, 20)
    weights = advantages[:, 0] / (rewards - rewards.mean(dim=1, keepdim=True))[:, 0]
    assert weights[5] > 2 * weights[:5].max()


def test_a_missing_reward_contributes_nothing_and_keeps_the_divisor():
    nan = math.nan
    table = torch.tensor([[1.0, nan], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    both = bnpo_advantages(table, 4, alpha=1.0, beta=1.0)
    assert both[0].item() == pytest.approx(0.5 / 2)


def test_float32_bounds_are_compared_in_float32():
    rewards = torch.tensor([0.1, 0.0])
    assert bnpo_advantages(rewards, 2, reward_max=0.1).tolist() == [0.5, -0.5]


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("rewards", {"rewards": [1.5, 0.0]}),
        ("rewards", {"rewards": [-0.1, 0.0]}),
        ("reward_max", {"reward_max": 0.0}),
        ("reward_max", {"reward_max": [1.0, 1.0]}),
        ("reward_min", {"reward_min": [0.0, 0.0]}),
        ("reward_max", {"reward_max": math.inf}),
        ("beta", {"alpha": 1.5}),
        ("alpha", {"beta": 1.5}),
        ("alpha", {"alpha": 0.0, "beta": 1.0}),
        ("max_weight", {"max_weight": 0.0}),
        ("reward_weights", {"reward_weights": [1.0, 1.0]}),
    ],
)
def test_bad_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        bnpo_advantages(**{"rewards": [0.0, 1.0], "num_generations": 2, **kwargs})


def test_pass_rates_are_the_means_of_the_mapped_rewards_of_each_prompt_and_function():
    nan = math.nan
    rewards = [[1.0, -1.0], [0.0, 0.0], [1.0, nan], [nan, nan]]
    rates = bnpo_pass_rates(rewards, 2, [0.0, -1.0], [1.0, 0.0])
    assert rates[0].tolist() == [0.5, 0.5] and rates[1, 0] == 1.0 and rates[1, 1].isnan()


def test_pass_rates_outside_the_unit_interval_are_refused():
    with pytest.raises(ValueError, match="pass_rates"):
        bnpo_beta_parameters([0.5, 1.5])
