"""ADORA's prompt weights."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_tables import few, lengths_of, rewards_of, seeds

from alignkit.objectives.advantages import adora_advantages, adora_weights, grpo_advantages


modes = pytest.mark.parametrize("mode", ["attenuate", "amplify"])


@modes
@given(seed=seeds)
@few
def test_a_weight_of_one_gives_grpo(mode, seed):
    rewards = rewards_of(seed, binary=True)
    weighted = adora_advantages(rewards, 4, lengths_of(seed), mode, weight=1.0)
    assert torch.equal(weighted, grpo_advantages(rewards, 4))


@modes
@given(seed=seeds)
@few
def test_one_weight_per_prompt_attenuates_or_amplifies(mode, seed):
    rewards, lengths = rewards_of(seed, binary=True), lengths_of(seed)
    plain = grpo_advantages(rewards, 4).view(4, 4)
    weighted = adora_advantages(rewards, 4, lengths, mode).view(4, 4)
    weights = adora_weights(rewards, 4, lengths, mode)
    torch.testing.assert_close(weighted, weights[:, None] * plain)
    assert set(weights.tolist()) <= {1.0, 0.1 if mode == "attenuate" else 2.0}
    torch.testing.assert_close(weighted.sum(dim=1), torch.zeros(4, dtype=torch.float64))


@modes
@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_undecided_groups_weigh_one(mode, reward):
    assert (adora_weights(torch.full((8,), reward), 4, lengths_of(0, rows=8), mode) == 1).all()


@modes
@given(seed=seeds, factor=st.sampled_from([2, 3, 10]))
@few
def test_scaling_all_lengths_changes_nothing(mode, seed, factor):
    rewards, lengths = rewards_of(seed, binary=True), lengths_of(seed)
    weights = adora_weights(rewards, 4, lengths, mode)
    assert torch.equal(weights, adora_weights(rewards, 4, factor * lengths, mode))


@modes
@given(seed=seeds, row=st.integers(0, 15), extra=st.integers(1, 30))
@few
def test_longer_successes_only_raise_and_longer_failures_only_lower_the_weight(mode, seed, row, extra):
    rewards, lengths = rewards_of(seed, binary=True), lengths_of(seed)
    longer = lengths.clone()
    longer[row] += extra
    change = adora_weights(rewards, 4, longer, mode) - adora_weights(rewards, 4, lengths, mode)
    assert ((change >= 0) if rewards[row] == 1 else (change <= 0)).all()


@given(seed=seeds)
@few
def test_amplify_never_acts_at_a_tau_of_zero_and_needs_the_rate_at_most_tau(seed):
    rewards, lengths = rewards_of(seed, binary=True), lengths_of(seed)
    assert (adora_weights(rewards, 4, lengths, "amplify", tau=0.0) == 1).all()
    amplified = adora_weights(rewards, 4, lengths, "amplify", tau=0.5) > 1
    assert (rewards.view(4, 4).mean(dim=1)[amplified] <= 0.5).all()


def test_the_longest_success_meets_the_mean_failure_and_cut_off_failures_are_left_out():
    rewards = [1.0, 1.0, 0.0, 0.0]
    assert adora_weights(rewards, 4, [1, 20, 10, 28]).tolist() == [1.0]
    assert adora_weights(rewards, 4, [1, 19, 10, 28]).tolist() == [0.1]
    assert adora_weights(rewards, 4, [1, 19, 10, 28], max_length=28).tolist() == [1.0]
    # Every failure was cut off: undecided.
    assert adora_weights(rewards, 4, [1, 2, 28, 28], max_length=28).tolist() == [1.0]


def test_missing_rewards_are_in_neither_set_nor_in_the_rate():
    nan = math.nan
    assert adora_weights([1.0, nan, nan, 0.0], 4, [9, 1, 1, 3], "amplify", tau=0.5).tolist() == [2.0]
    assert adora_weights([1.0, nan, nan, 0.0], 4, [9, 1, 1, 3], "amplify", tau=0.4).tolist() == [1.0]
    assert adora_weights([1.0, nan, nan, nan], 4, [9, 1, 1, 3]).tolist() == [1.0]
    assert adora_advantages([1.0, nan, 0.0, 0.0], 4, [1, 9, 9, 9])[1] == 0


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("mode", {"mode": "both"}),
        ("weight", {"weight": 1.1}),
        ("weight", {"mode": "amplify", "weight": 0.9}),
        ("tau", {"tau": 1.1}),
        ("success_threshold", {"success_threshold": math.nan}),
        ("max_length", {"max_length": 0}),
        ("lengths", {"lengths": [1, 2, 3]}),
        ("rows", {"num_generations": 3}),
    ],
)
def test_bad_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        adora_advantages(**{"rewards": [0.0, 1.0], "num_generations": 2, "lengths": [3, 4], **kwargs})
