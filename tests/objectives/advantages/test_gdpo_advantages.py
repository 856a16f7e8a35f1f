"""GDPO's decoupled normalisation."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_tables import few, rewards_of, seeds

from alignkit.objectives.advantages import gdpo_advantages, grpo_advantages


@given(seed=seeds, factor=st.floats(0.1, 100.0), shift=st.floats(-10.0, 10.0))
@few
def test_rescaling_one_reward_changes_nothing_unlike_grpo(seed, factor, shift):
    rewards = rewards_of(seed, columns=2)
    changed = rewards.clone()
    changed[:, 1] = factor * changed[:, 1] + shift
    torch.testing.assert_close(gdpo_advantages(changed, 4, eps=0.0), gdpo_advantages(rewards, 4, eps=0.0))
    changed[:, 1] = 5 * rewards[:, 1]
    assert (grpo_advantages(changed, 4) - grpo_advantages(rewards, 4)).abs().max() > 1e-3


def test_sums_that_grpo_collapses_stay_apart():
    one, two = [[0.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]
    half = 0.5**0.5
    for rewards, expected in ((one, half), (two, 2 * half)):
        assert grpo_advantages(rewards, 2, eps=0.0).tolist() == pytest.approx([-half, half])
        summed = gdpo_advantages(rewards, 2, batch_normalize=False, eps=0.0)
        assert summed.tolist() == pytest.approx([-expected, expected])


@pytest.mark.parametrize("generations, of_grpo, of_gdpo", [(2, 2, 3), (3, 4, 6), (4, 7, 14)])
def test_number_of_distinct_advantage_multisets_over_binary_tables(generations, of_grpo, of_gdpo):
    found = {"grpo": set(), "gdpo": set()}
    for bits in itertools.product([0.0, 1.0], repeat=2 * generations):
        table = torch.tensor(bits, dtype=torch.float64).view(generations, 2)
        for name, advantages in (
            ("grpo", grpo_advantages(table, generations, eps=0.0)),
            ("gdpo", gdpo_advantages(table, generations, batch_normalize=False, eps=0.0)),
        ):
            found[name].add(tuple(sorted(round(value, 6) + 0.0 for value in advantages.tolist())))
    assert (len(found["grpo"]), len(found["gdpo"])) == (of_grpo, of_gdpo)


@given(seed=seeds)
@few
def test_the_batch_is_whitened(seed):
    advantages = gdpo_advantages(rewards_of(seed, columns=3), 4)
    assert advantages.mean().item() == pytest.approx(0, abs=1e-12)
    assert advantages.std().item() == pytest.approx(1, abs=1e-3)


@given(seed=seeds, batch_normalize=st.booleans())
@few
def test_a_constant_reward_adds_nothing(seed, batch_normalize):
    rewards = rewards_of(seed, columns=2)
    constant = torch.arange(4).repeat_interleave(4)[:, None].double() / 7
    torch.testing.assert_close(
        gdpo_advantages(torch.cat([rewards, constant], dim=1), 4, batch_normalize=batch_normalize),
        gdpo_advantages(rewards, 4, batch_normalize=batch_normalize),
    )


@given(seed=seeds)
@few
def test_one_reward_gives_grpo_up_to_a_positive_factor_of_the_batch(seed):
    rewards = rewards_of(seed)
    plain = grpo_advantages(rewards, 4)
    torch.testing.assert_close(gdpo_advantages(rewards, 4, batch_normalize=False), plain)
    factor = 1 / (plain.std() + 1e-4)
    torch.testing.assert_close(gdpo_advantages(rewards, 4), factor * plain)


def test_two_generations_keep_only_the_sign():
    rewards = torch.tensor([0.0, 1e-2, 3.0, -50.0, 2.0, 2.0], dtype=torch.float64)
    half = 0.5**0.5
    expected = [-half, half, half, -half, 0.0, 0.0]
    assert gdpo_advantages(rewards, 2, batch_normalize=False, eps=1e-12).tolist() == pytest.approx(expected)


def test_a_reward_with_one_valid_row_in_a_group_is_dropped_there():
    nan = float("nan")
    rewards = [[1.0, 5.0], [0.0, nan], [nan, nan]]
    summed = gdpo_advantages(rewards, 3, batch_normalize=False, eps=0.0)
    assert summed.tolist() == pytest.approx([0.5**0.5, -(0.5**0.5), 0.0])
    # The row without any reward is not part of the batch statistics either.
    assert gdpo_advantages(rewards, 3, eps=0.0).tolist() == pytest.approx([0.5**0.5, -(0.5**0.5), 0.0])


def test_weights_act_on_normalised_advantages():
    rewards = rewards_of(0, columns=2)
    parts = [gdpo_advantages(rewards[:, k], 4, batch_normalize=False) for k in (0, 1)]
    weighted = gdpo_advantages(rewards, 4, reward_weights=[2.0, -0.5], batch_normalize=False)
    torch.testing.assert_close(weighted, 2 * parts[0] - 0.5 * parts[1])


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("reward_weights", {"reward_weights": [1.0]}),
        ("rows", {"num_generations": 3}),
        ("rewards", {"rewards": [[[1.0]]]}),
        ("eps", {"eps": -1.0}),
    ],
)
def test_bad_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        gdpo_advantages(**{"rewards": [[0.0, 1.0], [1.0, 1.0]], "num_generations": 2, **kwargs})
