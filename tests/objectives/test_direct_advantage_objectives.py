"""Direct advantage: advantages of candidate steps, the loss that they regress, and the policy at its minimum."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.advantages import direct_advantage_advantages
from alignkit.objectives.policy import direct_advantage_loss


seeds = st.integers(0, 10**6)
betas = st.floats(0.005, 2)
few = settings(max_examples=25, deadline=None)


def uniform(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, st.integers(1, 6), st.floats(-5, 5))
@few
def test_advantages_of_a_state_sum_to_zero_and_ignore_a_constant(seed, candidates, constant):
    values = uniform(seed, 3 * candidates)
    ids = (uniform(seed + 1, 3 * candidates) * 2).long()
    advantages = direct_advantage_advantages(values, candidates, action_ids=ids).advantages
    assert advantages.view(3, -1).sum(dim=1).tolist() == pytest.approx([0.0] * 3, abs=1e-12)
    torch.testing.assert_close(direct_advantage_advantages(values + constant, candidates).advantages, advantages)


def test_a_state_is_kept_from_the_smallest_gap_on():
    result = direct_advantage_advantages([0.5, 0.25, 0.5, 0.375], 2, min_gap=0.25)
    assert result.keep.tolist() == [True, True, False, False]


def test_repeated_steps_count_in_the_mean_but_only_the_first_is_kept():
    result = direct_advantage_advantages([0.9, 0.9, 0.0, 0.9, 0.0, 0.6], 6, action_ids=[7, 7, 5, 7, 5, 9])
    assert result.keep.tolist() == [True, False, True, False, False, True]
    assert result.advantages.tolist() == pytest.approx([0.35, 0.35, -0.55, 0.35, -0.55, 0.05])


def test_the_same_id_in_another_state_is_another_step():
    assert direct_advantage_advantages([0.9, 0.1, 0.9, 0.1], 2, action_ids=[1, 2, 1, 2]).keep.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_values_and_single_candidates_give_zero_and_are_not_kept(dtype):
    for candidates in (1, 7):
        result = direct_advantage_advantages(torch.full((7,), 0.7, dtype=dtype), candidates)
        assert (result.advantages == 0).all() and not result.keep.any()
    assert not direct_advantage_advantages([0.7], 1, min_gap=0.0).keep.any()
    assert direct_advantage_advantages([0.7, 0.7], 2, min_gap=0.0).keep.all()


def test_a_terminal_step_has_its_true_reward_as_value():
    values, rewards, terminal = [0.25, 0.75, 0.5, 0.5], [1.0, 9.0, 0.0, 9.0], [1, 0, 1, 0]
    result = direct_advantage_advantages(values, 2, rewards, terminal)
    expected = direct_advantage_advantages([1.0, 0.75, 0.0, 0.5], 2)
    assert all(map(torch.equal, result, expected))


def test_a_missing_value_is_left_out():
    result = direct_advantage_advantages([math.nan, 0.25, 0.75, math.nan, math.nan, 0.75], 3)
    assert result.advantages.tolist() == [0.0, -0.25, 0.25, 0.0, 0.0, 0.0]
    assert result.keep.tolist() == [False, True, True, False, False, False]
    ended = direct_advantage_advantages([0.5, 0.25, 0.75], 3, [math.nan] * 3, [True, False, False])
    assert ended.keep.tolist() == [False, True, True]
    repeated = direct_advantage_advantages([math.nan, 0.25, 0.75], 3, action_ids=[1, 1, 2])
    assert repeated.keep.tolist() == [False, True, True]


def test_advantages_carry_no_gradient():
    assert not direct_advantage_advantages(torch.rand(4, requires_grad=True), 2).advantages.requires_grad


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_candidates": 3}, "4 rows; expected a multiple"),
        ({"rewards": [1.0] * 4}, "`terminal` is None"),
        ({"terminal": [1] * 4}, "`rewards` is None"),
        ({"rewards": [1.0], "terminal": [1] * 4}, "`rewards` has shape"),
        ({"rewards": [1.0] * 4, "terminal": [1]}, "`terminal` has shape"),
        ({"action_ids": [1]}, "`action_ids` has shape"),
        ({"min_gap": -0.1}, "`min_gap` is -0.1"),
        ({"next_values": [[0.0, 0.0]]}, "`next_values` has shape"),
    ],
)
def test_bad_advantage_arguments_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        direct_advantage_advantages(**{"next_values": [0.0] * 4, "num_candidates": 2} | changes)


@given(seeds, betas)
@few
def test_at_the_reference_the_step_is_a_policy_gradient_step(gradient_of, seed, beta):
    logps, advantages = -20 * uniform(seed, 8), uniform(seed + 1, 8) - 0.5
    torch.testing.assert_close(direct_advantage_loss(logps, logps, advantages, beta), advantages**2 / (2 * beta**2))
    (grad,) = gradient_of(lambda x: direct_advantage_loss(x, logps, advantages, beta), logps)
    torch.testing.assert_close(grad, -advantages / beta)


@given(seeds, betas)
@few
def test_the_minimum_is_at_the_scaled_advantage_and_beyond_it_the_loss_pulls_back(gradient_of, seed, beta):
    reference, advantages = -20 * uniform(seed, 8), uniform(seed + 1, 8)
    best = reference + advantages / beta
    assert (direct_advantage_loss(best, reference, advantages, beta) < 1e-15).all()
    (beyond,) = gradient_of(lambda x: direct_advantage_loss(x, reference, advantages, beta), best + 1)
    torch.testing.assert_close(beyond, torch.ones(8, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_the_tabular_minimiser_improves_on_the_reference(minimise, seed, beta):
    reference = uniform(seed, 5).log_softmax(0) if seed % 2 else (3 * uniform(seed, 5)).log_softmax(0)
    sampling = (2 * uniform(seed + 10, 5)).softmax(0)
    quality = uniform(seed + 20, 5)
    advantages = quality - (reference.exp() * quality).sum()

    def objective(logps):
        return (sampling * direct_advantage_loss(logps, reference, advantages, beta)).sum()

    policy = minimise(objective, reference)
    log_ratio = policy - reference
    # Theorem 3.2: A / beta - u is proportional to pi+ / nu, with a factor that is not negative.
    factors = (advantages / beta - log_ratio) * sampling / policy.exp()
    assert factors.min().item() >= 0
    torch.testing.assert_close(factors, factors.mean().expand(5), atol=1e-6, rtol=1e-6)
    gain = (policy.exp() * advantages).sum()
    assert gain >= beta * (policy.exp() * log_ratio).sum() >= 0


def test_half_precision_sums_are_widened_and_only_the_policy_has_a_gradient(gradient_of):
    logps = torch.tensor([-200.0, -3.0], dtype=torch.bfloat16)
    loss = direct_advantage_loss(logps, torch.tensor([-199.5, -3.0]), [0.1, 0.1])
    assert loss.dtype == torch.float64 and loss.tolist() == pytest.approx([10.5**2 / 2, 50.0])
    grads = gradient_of(direct_advantage_loss, *torch.ones(3, 4).unbind())
    assert [grad is not None for grad in grads] == [True, False, False]


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_a_beta_that_is_not_positive_is_refused(beta):
    with pytest.raises(ValueError, match="`beta` is"):
        direct_advantage_loss([0.0], [0.0], [0.0], beta)


def test_other_shapes_are_refused_by_name():
    with pytest.raises(ValueError, match="`advantages` has shape"):
        direct_advantage_loss([0.0, 0.0], [0.0, 0.0], [0.0])
