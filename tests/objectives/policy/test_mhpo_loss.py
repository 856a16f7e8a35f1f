"""MHPO's modulated log-ratio and hazard penalty."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_batches import few, gradient, seeds, token_batch

from alignkit.objectives.policy import mhpo_gradient_multiplier, mhpo_hazard, mhpo_loss


shapes = st.floats(0.2, 5.0)
hyperparameters = st.fixed_dictionaries(dict.fromkeys(("c", "k_pos", "lambda_pos", "k_neg", "lambda_neg"), shapes))


@given(seed=seeds, values=hyperparameters)
@few
def test_autograd_gives_minus_the_advantage_times_the_multiplier(seed, values):
    batch = token_batch(seed, full=True, spread=2.0)
    grad = gradient(lambda x: mhpo_loss(x, batch.old_logps, batch.advantages, batch.mask, **values), batch.logps)
    multiplier = mhpo_gradient_multiplier(batch.logps - batch.old_logps, **values)
    torch.testing.assert_close(grad, -batch.advantages[:, None] * multiplier, atol=1e-8, rtol=1e-8)


@given(values=hyperparameters)
@few
def test_the_multiplier_lies_between_zero_and_e_to_the_c(values):
    multiplier = mhpo_gradient_multiplier(torch.linspace(-500, 500, 2001, dtype=torch.float64), **values)
    assert (multiplier >= 0).all() and (multiplier <= math.exp(values["c"])).all()


def test_the_published_multipliers_are_reached():
    log_ratio = [-2.0, -1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0, 2.0]
    expected = [0.001406, 0.021675, 0.093106, 0.187589, 0.265062, 0.335851, 0.393298, 0.338564, 0.120032]
    assert mhpo_gradient_multiplier(log_ratio).tolist() == pytest.approx(expected, abs=1e-6)
    fine = torch.linspace(-3, 3, 60_001, dtype=torch.float64)
    multiplier = mhpo_gradient_multiplier(fine)
    assert multiplier.max().item() == pytest.approx(0.3958, abs=1e-4)
    assert fine[multiplier.argmax()].item() == pytest.approx(0.578, abs=1e-3)


@given(seed=seeds)
@few
def test_without_hazard_the_loss_is_the_modulated_and_then_the_unclipped_surrogate(seed):
    batch = token_batch(seed, full=True)
    args = (batch.logps, batch.old_logps, batch.advantages, batch.mask)
    off = {"lambda_pos": 1e12, "lambda_neg": 1e12}
    log_ratio, advantages = batch.logps - batch.old_logps, batch.advantages[:, None]
    modulated = torch.exp(1.5 * torch.tanh(log_ratio / 1.5))
    torch.testing.assert_close(mhpo_loss(*args, **off), -modulated * advantages)
    torch.testing.assert_close(mhpo_loss(*args, c=1e5, **off), -log_ratio.exp() * advantages)


@given(seed=seeds, values=hyperparameters)
@few
def test_on_policy_every_token_is_scaled_alike(seed, values):
    batch = token_batch(seed, full=True)
    grad = gradient(lambda x: mhpo_loss(x, batch.logps, batch.advantages, batch.mask, **values), batch.logps)
    scale = math.exp(
        -((math.log(2) / values["lambda_pos"]) ** values["k_pos"])
        - (math.log(2) / values["lambda_neg"]) ** values["k_neg"]
    )
    torch.testing.assert_close(grad, (-scale * batch.advantages[:, None]).expand_as(grad))


@given(k_pos=shapes, lambda_pos=shapes, k_neg=shapes, lambda_neg=shapes)
@few
def test_swapping_the_two_sides_mirrors_the_hazard(k_pos, lambda_pos, k_neg, lambda_neg):
    psi = torch.linspace(-3, 3, 25, dtype=torch.float64)
    torch.testing.assert_close(
        mhpo_hazard(psi, k_pos, lambda_pos, k_neg, lambda_neg),
        mhpo_hazard(-psi, k_neg, lambda_neg, k_pos, lambda_pos),
    )
    even = mhpo_hazard(psi, k_pos, lambda_pos, k_pos, lambda_pos)
    torch.testing.assert_close(even, even.flip(0))


@given(scale=shapes)
@few
def test_with_unit_shapes_the_hazard_is_the_sum_of_the_softpluses(scale):
    psi = torch.linspace(-3, 3, 25, dtype=torch.float64)
    expected = ((1 + psi.exp()).log() + (1 + (-psi).exp()).log()) / scale
    torch.testing.assert_close(mhpo_hazard(psi, 1.0, scale, 1.0, scale), expected)


def test_the_hazard_has_no_gradient():
    assert not mhpo_hazard(torch.zeros(3, requires_grad=True)).requires_grad


@pytest.mark.parametrize("name", ["c", "k_pos", "lambda_pos", "k_neg", "lambda_neg"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_hyperparameters_outside_their_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        mhpo_loss([[0.0]], [[0.0]], [1.0], [[1]], **{name: value})
    with pytest.raises(ValueError, match=name):
        mhpo_gradient_multiplier([0.0], **{name: value})
