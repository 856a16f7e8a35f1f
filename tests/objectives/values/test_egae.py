"""T-PPO's extended GAE: what an unfinished response teaches."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.values import egae, gae


seeds = st.integers(0, 10**6)
units = st.floats(0, 1)
few = settings(max_examples=25, deadline=None)
OPEN = [True] * 5


@given(seeds, units, units)
@few
def test_without_truncation_it_is_gae(draw_tokens, seed, gamma, lam):
    mask, rewards, values = draw_tokens(seed, 2)
    plain = gae(rewards, values, mask, gamma, lam)
    assert all(map(torch.equal, egae(rewards, values, mask, [False] * 5, gamma, lam), plain))


@given(seeds, units, units)
@few
def test_a_truncated_row_bootstraps_from_its_last_valid_value(draw_tokens, seed, gamma, lam):
    mask, rewards, values = draw_tokens(seed, 2)
    truncated = [True, False, True, False, True]
    last = [values[row][keep][-1].item() if keep.any() else 0.0 for row, keep in enumerate(mask)]
    bootstrap = [value if is_open else 0.0 for value, is_open in zip(last, truncated, strict=True)]
    expected = gae(rewards, values, mask, gamma, lam, bootstrap_values=bootstrap)
    assert all(map(torch.equal, egae(rewards, values, mask, truncated, gamma, lam), expected))


@given(seeds, units, st.floats(-3, 3))
@few
def test_truncated_rows_without_reward_and_with_constant_values_carry_no_signal(draw_tokens, seed, lam, constant):
    mask, table = draw_tokens(seed, 1)
    result = egae(torch.zeros_like(table), torch.full_like(table, constant), mask, OPEN, lam=lam)
    assert (result.advantages == 0).all()


@given(seeds, units, units)
@few
def test_the_last_delta_of_a_truncated_row_is_its_value_times_gamma_minus_one(draw_tokens, seed, gamma, lam):
    mask, values = draw_tokens(seed, 1)
    advantages = egae(torch.zeros_like(values), values, mask, OPEN, gamma, lam).advantages
    for row, keep in enumerate(mask):
        if keep.any():
            expected = (gamma - 1) * values[row][keep][-1].item()
            assert advantages[row][keep][-1].item() == pytest.approx(expected, abs=1e-12)


def test_a_finished_row_that_could_not_be_scored_has_no_signal(draw_tokens):
    mask, rewards, values = draw_tokens(0, 2)
    clean = egae(rewards, values, mask, [False, True, False, True, True])
    rewards[0, mask[0].nonzero()[-1]] = math.nan
    result = egae(rewards, values, mask, [False, True, False, True, True])
    for table, expected in zip(result, clean, strict=True):
        assert (table[0] == 0).all() and torch.equal(table[1:], expected[1:])


@given(seeds)
@few
def test_monte_carlo_targets_of_finished_responses_are_the_final_reward(draw_tokens, seed):
    mask, values = draw_tokens(seed, 1)
    last = mask & (mask.flip(1).cumsum(1).flip(1) == 1)
    rewards = torch.where(last, torch.tensor([1.0, 0.0, 0.5, -1.0, 3.0])[:, None], 0.0)
    returns = gae(rewards, values, mask, critic_lam=1.0).returns
    expected = rewards.sum(dim=1, keepdim=True).double().expand_as(returns)
    torch.testing.assert_close(returns, torch.where(mask, expected, 0.0))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"truncated": [True, False]}, "`truncated` has shape"),
        ({"values": [[0.0]]}, "`values` has shape"),
        ({"rewards": [[0.0]]}, "has shape"),
        ({"gamma": -0.1}, "`gamma` is -0.1"),
        ({"lam": 1.5}, "`lam` is 1.5"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    arguments = {"rewards": [[0.0, 1.0]], "values": [[0.0, 0.0]], "mask": [[1, 1]], "truncated": [True]}
    with pytest.raises(ValueError, match=message):
        egae(**arguments | changes)
