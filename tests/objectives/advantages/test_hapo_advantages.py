"""HAPO's token-level group average."""

import math

import pytest
import torch
from hypothesis import given
from reward_tables import few, lengths_of, mask_of, rewards_of, seeds

from alignkit.objectives.advantages import hapo_advantages


@given(seed=seeds)
@few
def test_the_tokens_of_a_group_sum_to_zero_with_unit_population_spread(seed):
    rewards, mask = rewards_of(seed), mask_of(lengths_of(seed))
    advantages = hapo_advantages(rewards, 4, mask, eps=0.0)
    assert (advantages[~mask] == 0).all()
    for group, kept in zip(advantages.view(4, -1), mask.view(4, -1), strict=True):
        assert group[kept].sum().item() == pytest.approx(0, abs=1e-9)
        assert group[kept].std(correction=0).item() == pytest.approx(1)


@given(seed=seeds)
@few
def test_equal_lengths_give_grpo_with_the_population_spread(seed):
    rewards = rewards_of(seed)
    groups = rewards.view(4, 4)
    expected = (groups - groups.mean(dim=1, keepdim=True)) / (groups.std(dim=1, correction=0, keepdim=True) + 1e-6)
    advantages = hapo_advantages(rewards, 4, torch.ones(16, 3))
    torch.testing.assert_close(advantages, expected.flatten()[:, None].expand(16, 3))


def test_missing_and_empty_rows_have_no_weight():
    rewards = torch.tensor([1.0, 0.0, 0.0, 5.0, math.nan], dtype=torch.float64)
    mask = mask_of([1, 2, 3, 0, 4], tokens=4)
    advantages = hapo_advantages(rewards, 5, mask)
    assert torch.equal(advantages[:3], hapo_advantages(rewards[:3], 3, mask[:3]))
    assert (advantages[3:] == 0).all()


def test_several_rewards_are_summed_over_the_ones_that_exist():
    table = torch.tensor([[1.0, math.nan], [2.0, -2.0]], dtype=torch.float64)
    mask = torch.ones(2, 2)
    assert torch.equal(hapo_advantages(table, 2, mask), hapo_advantages([1.0, 0.0], 2, mask))


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("mask", {"mask": [[1], [1], [1]]}),
        ("mask", {"mask": [1, 1]}),
        ("eps", {"eps": -1.0}),
        ("rows", {"num_generations": 3}),
    ],
)
def test_bad_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        hapo_advantages(**{"rewards": [0.0, 1.0], "num_generations": 2, "mask": [[1], [1]], **kwargs})
