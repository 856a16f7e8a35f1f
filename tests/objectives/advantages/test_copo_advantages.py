"""COPO's local and global advantages and the gate between them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_tables import few, lengths_of, rewards_of, seeds

from alignkit.objectives.advantages import copo_advantages, grpo_advantages
from alignkit.objectives.policy import copo_loss, grpo_loss


def answers_of(seed, distinct=4):
    return lengths_of(seed, longest=distinct)


@given(seed=seeds, data=st.data())
@few
def test_the_entropy_ignores_labels_and_lies_within_its_bounds(seed, data):
    answers = answers_of(seed)
    entropy = copo_advantages(rewards_of(seed), 4, answers).entropy
    assert (entropy >= 0).all() and (entropy <= 2 + 1e-12).all()
    labels = torch.tensor(data.draw(st.permutations([7, -3, 100, 2, 55])))
    assert torch.equal(copo_advantages(rewards_of(seed), 4, labels[answers]).entropy, entropy)


def test_the_entropy_is_in_bits():
    answers = [0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 2, 3]
    assert copo_advantages(rewards_of(0, prompts=3), 4, answers).entropy.tolist() == [0.0, 1.0, 2.0]


@given(seed=seeds)
@few
def test_disagreeing_prompts_with_a_steep_gate_give_grpo(seed):
    rewards = rewards_of(seed)
    result = copo_advantages(rewards, 4, torch.arange(16), gamma=1e3, rho=0.0)
    assert torch.equal(result.local_advantages, grpo_advantages(rewards, 4))
    logps = -rewards_of(seed, columns=3).abs()
    old, mask = logps - 0.3 * rewards_of(seed + 1, columns=3), torch.ones(16, 3)
    torch.testing.assert_close(
        copo_loss(logps, old, *result[:3], mask), grpo_loss(logps, old, grpo_advantages(rewards, 4), mask)
    )


def test_agreeing_groups_have_only_a_global_signal():
    rewards = torch.tensor([1.0] * 4 + [0.0] * 4)
    result = copo_advantages(rewards, 4, [5] * 4 + [6] * 4)
    assert (result.local_advantages == 0).all()
    assert (result.global_advantages[:4] > 0).all() and (result.global_advantages[4:] < 0).all()
    assert (copo_advantages(torch.ones(8), 4, [5] * 8).global_advantages == 0).all()


@given(seed=seeds)
@few
def test_the_global_advantage_is_one_number_per_prompt_and_sums_to_zero(seed):
    rewards = rewards_of(seed, binary=True)
    between = copo_advantages(rewards, 4, answers_of(seed)).global_advantages.view(4, 4)
    assert (between == between[:, :1]).all()
    assert between[:, 0].sum().item() == pytest.approx(0, abs=1e-9)
    rates = rewards.view(4, 4).mean(dim=1)
    assert torch.equal(between[:, 0].sign(), torch.where(rates.std() > 0, (rates - rates.mean()).sign(), 0.0))


@given(seed=seeds, gamma=st.floats(0.1, 20.0), rho=st.floats(0.0, 2.0))
@few
def test_the_gate_rises_with_the_entropy(seed, gamma, rho):
    result = copo_advantages(rewards_of(seed), 4, answers_of(seed), gamma=gamma, rho=rho)
    weight = result.local_weight.view(4, 4)
    assert (weight > 0).all() and (weight <= 1).all() and (weight == weight[:, :1]).all()
    torch.testing.assert_close(weight[:, 0], 1 / (1 + torch.exp(-gamma * (result.entropy - rho))))


def test_a_flat_gate_weighs_both_losses_the_same():
    assert (copo_advantages(rewards_of(0), 4, answers_of(0), gamma=0.0).local_weight == 0.5).all()


def test_the_consistency_factor_is_one_for_equal_answers_and_one_over_g_for_distinct_ones():
    answers = torch.tensor([0, 0, 0, 0, 0, 1, 2, 3])
    rewards = torch.ones(8, dtype=torch.float64)
    result = copo_advantages(rewards, 4, answers, consistency_reward=True, eps=0.0)
    scaled = torch.tensor([1.0, 0.25], dtype=torch.float64)
    expected = (scaled - scaled.mean()) / scaled.std()
    torch.testing.assert_close(result.global_advantages[::4], expected)
    middle = copo_advantages(
        torch.ones(12).double(), 4, [0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 2, 3], consistency_reward=True, eps=0.0
    )
    # H = 1 bit of 2: half of the way from 1 to 1/4.
    rates = torch.tensor([1.0, 0.625, 0.25], dtype=torch.float64)
    torch.testing.assert_close(middle.global_advantages[::4], (rates - rates.mean()) / rates.std())


def test_one_prompt_alone_has_no_global_advantage():
    assert (copo_advantages([1.0, 0.0], 2, [0, 1]).global_advantages == 0).all()
    nan = math.nan
    result = copo_advantages([1.0, 0.0, nan, nan], 2, [0, 1, 0, 1])
    assert (result.global_advantages == 0).all() and result.entropy.tolist() == [1.0, 0.0]


def test_a_missing_reward_is_left_out_everywhere():
    rewards = torch.tensor([1.0, math.nan, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    with_gap = copo_advantages(rewards, 3, [0, 9, 1, 0, 0, 0])
    assert with_gap.entropy.tolist() == [1.0, 0.0]
    assert with_gap.local_advantages[1] == 0 and with_gap.global_advantages[1] == 0
    means = torch.tensor([0.5, 1.0], dtype=torch.float64)
    expected = (means - 0.75) / (means.std() + 1e-4)
    torch.testing.assert_close(with_gap.global_advantages[[0, 3]], expected)


def test_zero_rewards_can_be_forced_to_the_global_loss():
    rewards = torch.tensor([0.0, 1.0, 0.5, 0.0])
    weight = copo_advantages(rewards, 4, [0, 1, 2, 3], zero_reward_global=True).local_weight
    assert torch.equal(weight == 0, rewards == 0)


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("gamma", {"gamma": -1.0}),
        ("rho", {"rho": -0.1}),
        ("gamma", {"gamma": math.inf}),
        ("answer_ids", {"answer_ids": [0, 1, 2]}),
        ("rows", {"num_generations": 3}),
    ],
)
def test_bad_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        copo_advantages(**{"rewards": [0.0, 1.0], "num_generations": 2, "answer_ids": [0, 1], **kwargs})
