"""GRPO's group advantages."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_tables import few, rewards_of, seeds

from alignkit.objectives.advantages import grpo_advantages


scales = pytest.mark.parametrize("scale", ["group", "batch", "none"])


@scales
@given(seed=seeds)
@few
def test_each_group_sums_to_zero(scale, seed):
    advantages = grpo_advantages(rewards_of(seed), 4, scale)
    torch.testing.assert_close(advantages.view(-1, 4).sum(dim=1), torch.zeros(4, dtype=torch.float64))


@given(seed=seeds, factor=st.floats(0.1, 100.0), shift=st.floats(-10.0, 10.0))
@few
def test_group_scaling_is_invariant_to_affine_rewards_and_no_scaling_is_linear(seed, factor, shift):
    rewards = rewards_of(seed)
    changed = factor * rewards + shift
    torch.testing.assert_close(grpo_advantages(changed, 4, eps=0.0), grpo_advantages(rewards, 4, eps=0.0))
    torch.testing.assert_close(grpo_advantages(changed, 4, "none"), factor * grpo_advantages(rewards, 4, "none"))


@scales
@given(seed=seeds)
@few
def test_a_missing_row_is_as_if_it_were_not_there(scale, seed):
    rewards = rewards_of(seed, prompts=1, generations=5)
    dropped = rewards.clone()
    dropped[2] = math.nan
    advantages = grpo_advantages(dropped, 5, scale)
    kept = torch.tensor([0, 1, 3, 4])
    assert advantages[2] == 0
    torch.testing.assert_close(advantages[kept], grpo_advantages(rewards[kept], 4, scale))


def test_partly_missing_rewards_count_as_zero_in_the_sum():
    advantages = grpo_advantages([[1.0, math.nan], [2.0, 4.0]], 2, "none", reward_weights=[1.0, 0.5])
    assert advantages.tolist() == [-1.5, 1.5]


def test_batch_scale_divides_by_the_spread_of_the_rewards_themselves():
    rewards = torch.tensor([0.0, 1.0, 10.0, 11.0], dtype=torch.float64)
    expected = torch.tensor([-0.5, 0.5, -0.5, 0.5], dtype=torch.float64) / rewards.std()
    torch.testing.assert_close(grpo_advantages(rewards, 2, "batch", eps=0.0), expected)


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("num_generations", {"num_generations": 0}),
        ("3 rows", {"num_generations": 2, "rewards": [1.0, 2.0, 3.0]}),
        ("scale_rewards", {"scale_rewards": "prompt"}),
        ("reward_weights", {"reward_weights": [1.0, 1.0]}),
        ("reward_weights", {"reward_weights": [math.nan]}),
        ("rewards", {"rewards": [[[1.0]]]}),
        ("rewards", {"rewards": 1.0}),
        ("eps", {"eps": -1e-4}),
    ],
)
def test_bad_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        grpo_advantages(**{"rewards": [0.0, 1.0], "num_generations": 2, **kwargs})
