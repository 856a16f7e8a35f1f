"""RiskPO's advantages from bundle scores."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_tables import few, rewards_of, seeds

from alignkit.objectives.advantages import riskpo_advantages
from alignkit.objectives.sampling import riskpo_bundle_scores


def permutations(seed, prompts=4, generations=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(generations, generator=generator) for _ in range(prompts)])


def members(advantages, permutation, bundle_size=2):
    """[bundles, B, G] advantages in the order of the bundle members."""
    return advantages.view(-1, 4).gather(1, permutation).view(-1, bundle_size, 4)


@given(seed=seeds, omega=st.floats(0.0, 3.0), q_alpha=st.floats(-1.0, 0.0), q_beta=st.floats(0.0, 1.0))
@few
def test_advantages_are_a_concave_ramp_of_the_score_that_ends_at_zero(seed, omega, q_alpha, q_beta):
    rewards, order = rewards_of(seed), permutations(seed)
    scores = riskpo_bundle_scores(rewards, 4, 2, order)
    advantages = riskpo_advantages(rewards, 4, q_alpha, q_beta, 2, omega, order)
    shared = members(advantages, order)
    assert torch.equal(shared[:, 0], shared[:, 1])
    capped = scores.clamp(max=q_beta)
    ramp = torch.where(capped < q_alpha, (1 + omega) * (capped - q_alpha) + q_alpha - q_beta, capped - q_beta)
    torch.testing.assert_close(shared[:, 0], ramp)
    assert (advantages <= 0).all()
    assert torch.equal(shared[:, 0] == 0, scores >= q_beta)


@given(seed=seeds)
@few
def test_without_omega_it_is_the_range_value_at_risk(seed):
    rewards = rewards_of(seed)
    scores = riskpo_bundle_scores(rewards, 4, 2).clamp(max=0.5) - 0.5
    advantages = riskpo_advantages(rewards, 4, -0.5, 0.5, bundle_size=2, omega=0.0)
    torch.testing.assert_close(advantages, scores.repeat_interleave(2, dim=0).flatten())


@given(seed=seeds)
@few
def test_quantiles_outside_the_scores_give_reinforce_with_a_constant_baseline(seed):
    rewards = rewards_of(seed)
    advantages = riskpo_advantages(rewards, 4, -100.0, 100.0, bundle_size=2, omega=2.0)
    scores = riskpo_bundle_scores(rewards, 4, 2).repeat_interleave(2, dim=0).flatten()
    torch.testing.assert_close(advantages, scores - 100.0)


def test_an_all_wrong_bundle_still_gets_a_signal():
    advantages = riskpo_advantages(torch.zeros(8), 4, 0.5, 1.5, bundle_size=2)
    assert (advantages == -1.5 * 0.5 - 1.0).all()


@given(seed=seeds)
@few
def test_bundles_of_one_give_each_response_its_own_advantage(seed):
    rewards = rewards_of(seed)
    advantages = riskpo_advantages(rewards, 4, -0.5, 0.5, bundle_size=1, omega=0.0)
    torch.testing.assert_close(advantages, rewards.clamp(max=0.5) - 0.5)


@given(
    seed=seeds,
    credit=st.sampled_from(["uniform", "std", "sum_mean"]),
    form=st.sampled_from(["paper", "official_code"]),
)
@few
def test_permuting_responses_together_with_their_permutation_changes_nothing(seed, credit, form):
    rewards, order, shuffle = rewards_of(seed), permutations(seed), permutations(seed + 1)
    options = {"bundle_size": 2, "credit": credit, "form": form}
    advantages = riskpo_advantages(rewards, 4, -0.5, 0.5, permutation=order, **options)
    # Response shuffle[i, j] moves to place j, so member k finds its response at the place that holds order[i, k].
    moved = rewards.view(-1, 4).gather(1, shuffle).flatten()
    found = shuffle.argsort(dim=1).gather(1, order)
    again = riskpo_advantages(moved, 4, -0.5, 0.5, permutation=found, **options)
    torch.testing.assert_close(again, advantages.view(-1, 4).gather(1, shuffle).flatten())


def test_a_missing_reward_silences_its_member_alone():
    rewards = torch.zeros(8)
    rewards[1] = math.nan
    advantages = riskpo_advantages(rewards, 4, 0.5, 1.5, bundle_size=2).view(2, 4)
    assert (advantages[:, 1] == 0).all()
    assert (advantages[:, [0, 2, 3]] != 0).all()


def test_the_official_form_weighs_tail_and_window_by_their_levels():
    rewards = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    advantages = riskpo_advantages(
        rewards, 4, 1.0, 2.5, bundle_size=1, form="official_code", alpha=0.2, beta=0.7, w_mix=1.5, eps=0.0
    )
    expected = [(-1.5 / 0.2 - 1.5 / 0.5) / 2.5, -1.5 / 0.5 / 2.5, -0.5 / 0.5 / 2.5, 0.0]
    assert advantages.tolist() == pytest.approx(expected)


def test_without_the_natural_baseline_the_constant_is_dropped():
    rewards = rewards_of(0)
    gap = riskpo_advantages(rewards, 4, -0.5, 0.5, 2) - riskpo_advantages(
        rewards, 4, -0.5, 0.5, 2, natural_baseline=False
    )
    torch.testing.assert_close(gap, torch.full_like(gap, -1.0))


def test_normalisation_divides_by_the_spread_of_the_bundle_scores():
    rewards = rewards_of(0)
    spread = riskpo_bundle_scores(rewards, 4, 2).std(dim=1).repeat_interleave(8)
    plain = riskpo_advantages(rewards, 4, -0.5, 0.5, 2)
    torch.testing.assert_close(
        riskpo_advantages(rewards, 4, -0.5, 0.5, 2, normalize_std=True, eps=0.0), plain / spread
    )
    single = riskpo_advantages(rewards, 1, -0.5, 0.5, 2, eps=0.0)
    assert torch.equal(riskpo_advantages(rewards, 1, -0.5, 0.5, 2, normalize_std=True, eps=0.0), single)


def test_credit_by_standard_deviation_and_by_share():
    rewards = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    plain = riskpo_advantages(rewards, 4, 1.0, 3.0, 2).view(2, 4)
    by_std = riskpo_advantages(rewards, 4, 1.0, 3.0, 2, credit="std", eps=0.0).view(2, 4)
    torch.testing.assert_close(by_std, torch.stack([plain[0] / 0.5, plain[1]]))
    # The second prompt never leaves its mean, so the first one gets everything.
    by_share = riskpo_advantages(rewards, 4, 1.0, 3.0, 2, credit="sum_mean").view(2, 4)
    torch.testing.assert_close(by_share, torch.stack([plain[0], torch.zeros(4).double()]))
    equal = riskpo_advantages(torch.ones(8), 4, 1.0, 3.0, 2, credit="sum_mean")
    assert torch.equal(equal, riskpo_advantages(torch.ones(8), 4, 1.0, 3.0, 2) / 2)


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("q_alpha", {"q_alpha": 0.6}),
        ("q_alpha", {"q_alpha": math.nan}),
        ("bundle_size", {"bundle_size": 3}),
        ("bundle_size", {"bundle_size": 0}),
        ("omega", {"omega": -0.1}),
        ("form", {"form": "code"}),
        ("credit", {"credit": "score"}),
        ("alpha", {"alpha": 0.8}),
        ("beta", {"beta": 1.0}),
        ("w_mix", {"w_mix": -1.0}),
        ("permutation", {"permutation": [[0, 1, 2, 3]]}),
        ("permutation", {"permutation": [[0, 1, 2, 3], [0, 0, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]}),
    ],
)
def test_bad_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        riskpo_advantages(
            **{
                "rewards": rewards_of(0),
                "num_generations": 4,
                "q_alpha": -0.5,
                "q_beta": 0.5,
                "bundle_size": 2,
                **kwargs,
            }
        )
