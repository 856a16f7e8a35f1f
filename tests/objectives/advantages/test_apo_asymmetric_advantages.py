"""Asymmetric Policy Optimization's length factor and KL weights."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_tables import few, lengths_of, rewards_of, seeds

from alignkit.objectives.advantages import (
    apo_asymmetric_advantages,
    apo_asymmetric_kl_weights,
    grpo_advantages,
)


@given(seed=seeds)
@few
def test_a_base_of_one_gives_grpo(seed):
    rewards = rewards_of(seed, binary=True)
    advantages = apo_asymmetric_advantages(rewards, 4, lengths_of(seed), stcr_base=1.0)
    assert torch.equal(advantages, grpo_advantages(rewards, 4))


@given(seed=seeds, base=st.floats(1.00001, 2.0))
@few
def test_only_over_long_wrong_answers_are_enlarged_and_at_most_twofold(seed, base):
    rewards, lengths = rewards_of(seed, binary=True), lengths_of(seed)
    plain = grpo_advantages(rewards, 4)
    advantages = apo_asymmetric_advantages(rewards, 4, lengths, stcr_base=base)
    correct = rewards == 1
    groups = correct.view(4, 4)
    mean = (lengths.view(4, 4) * groups).sum(dim=1).double() / groups.sum(dim=1)
    excess = lengths - mean.repeat_interleave(4)
    enlarged = ~correct & (excess > 0)
    assert torch.equal(advantages[~enlarged], plain[~enlarged])
    factor = advantages[enlarged] / plain[enlarged]
    torch.testing.assert_close(factor, 2 - base ** -excess[enlarged])
    assert (factor >= 1).all() and (factor <= 2).all()
    assert (advantages.view(4, 4).sum(dim=1) <= 1e-12).all()


def test_the_factor_grows_with_the_excess():
    rewards = [1.0] + [0.0] * 4
    advantages = apo_asymmetric_advantages(rewards, 5, [10, 11, 20, 50, 500], stcr_base=1.01)
    assert (advantages[1:].diff() < 0).all()


def test_the_released_base_keeps_its_small_factor_in_float32():
    rewards = torch.tensor([1.0, 0.0])
    advantages = apo_asymmetric_advantages(rewards, 2, [0, 100])
    assert (advantages[1] / grpo_advantages(rewards, 2)[1]).item() == pytest.approx(1.0009995, abs=2e-7)


def test_a_wrong_answer_with_a_positive_advantage_is_left_alone():
    rewards = [0.5, 0.0, 0.0, 0.0, 0.0, 1.0]
    advantages = apo_asymmetric_advantages(rewards, 6, [100] * 5 + [1], stcr_base=1.1)
    plain = grpo_advantages(rewards, 6)
    assert plain[0] > 0 and advantages[0] == plain[0] and advantages[1] < plain[1]


def test_the_kl_weight_falls_with_difficulty():
    weights = []
    for correct in range(1, 8):
        rewards = torch.zeros(8, dtype=torch.float64)
        rewards[:correct] = 1
        of_group = apo_asymmetric_kl_weights(rewards, 8)
        assert (of_group[correct:] == 1).all()
        weights.append(of_group[0].item())
    assert weights == sorted(weights) and 0 < weights[0] and weights[-1] < 1 - math.exp(-math.e)
    assert [round(weights[i], 3) for i in (0, 3, 6)] == [0.288, 0.743, 0.907]


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_decided_groups_have_no_advantage_and_unit_weights(reward):
    rewards = torch.full((8,), reward)
    assert (apo_asymmetric_advantages(rewards, 8, lengths_of(0, rows=8)) == 0).all()
    assert (apo_asymmetric_kl_weights(rewards, 8) == 1).all()


def test_missing_rewards_count_neither_in_the_difficulty_nor_in_the_mean_length():
    rewards = torch.tensor([1.0, math.nan, 0.0, 0.0], dtype=torch.float64)
    weights = apo_asymmetric_kl_weights(rewards, 4)
    assert weights.tolist() == pytest.approx([1 - math.exp(-math.e / 3), 1.0, 1.0, 1.0])
    advantages = apo_asymmetric_advantages(rewards, 4, [10, 9999, 20, 5], stcr_base=1.1)
    plain = grpo_advantages(rewards, 4)
    assert advantages[1] == 0 and advantages[3] == plain[3]
    assert (advantages[2] / plain[2]).item() == pytest.approx(2 - 1.1**-10)


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("stcr_base", {"stcr_base": 0.99}),
        ("stcr_base", {"stcr_base": math.inf}),
        ("correct_threshold", {"correct_threshold": math.nan}),
        ("lengths", {"lengths": [1, 2, 3]}),
        ("rows", {"num_generations": 3}),
    ],
)
def test_bad_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        apo_asymmetric_advantages(**{"rewards": [0.0, 1.0], "num_generations": 2, "lengths": [3, 4], **kwargs})


def test_another_reward_may_tell_what_is_correct():
    total = torch.tensor([1.5, 1.0, 0.5, 0.0, 1.0], dtype=torch.float64)
    correctness = torch.tensor([1.0, 0.0, 0.0, 0.0, math.nan], dtype=torch.float64)
    lengths = [10, 5, 30, 30, 30]
    weights = apo_asymmetric_kl_weights(total, 5, correctness=correctness)
    # One of four graded ones is right; the weight is that of every positive sample.
    assert weights[0].item() == pytest.approx(1 - math.exp(-math.e / 4))
    plain = grpo_advantages(total, 5)
    factor = apo_asymmetric_advantages(total, 5, lengths, stcr_base=1.1, correctness=correctness) / plain
    assert factor.tolist() == pytest.approx([1.0, 1.0, 2 - 1.1**-20, 2 - 1.1**-20, 1.0])
    with pytest.raises(ValueError, match="correctness"):
        apo_asymmetric_advantages(total, 5, lengths, correctness=[1.0])
