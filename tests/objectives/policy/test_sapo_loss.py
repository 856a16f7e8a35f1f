"""SAPO's soft gate."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_batches import few, gradient, seeds, token_batch

from alignkit.objectives.policy import sapo_gradient_weight, sapo_loss


taus = st.floats(0.05, 20.0)


@given(seed=seeds, tau_pos=taus, tau_neg=taus)
@few
def test_on_policy_the_gradient_is_plain_for_any_tau_and_the_value_is_two_over_tau(seed, tau_pos, tau_neg):
    batch = token_batch(seed, full=True)
    advantages = batch.advantages[:, None].expand_as(batch.logps)

    def loss(logps):
        return sapo_loss(logps, batch.logps, batch.advantages, batch.mask, tau_pos, tau_neg)

    torch.testing.assert_close(gradient(loss, batch.logps), -advantages)
    tau = torch.full_like(advantages, tau_neg).masked_fill(advantages > 0, tau_pos)
    torch.testing.assert_close(loss(batch.logps), -2 * advantages / tau)


@given(seed=seeds)
@few
def test_a_vanishing_tau_gives_the_unclipped_surrogate_up_to_a_constant(seed):
    batch = token_batch(seed, full=True)
    loss = sapo_loss(batch.logps, batch.old_logps, torch.ones(4), batch.mask, 1e-6, 1e-6)
    surrogate = (batch.logps - batch.old_logps).exp() - 1
    torch.testing.assert_close(-loss - 2e6, surrogate, atol=1e-3, rtol=0)


@given(tau=taus)
@few
def test_the_gate_is_increasing_and_bounded_and_never_flips_an_update(tau):
    log_ratio = torch.linspace(-25, 25, 401, dtype=torch.float64)[None]
    gate = -sapo_loss(log_ratio, torch.zeros_like(log_ratio), [1.0], torch.ones_like(log_ratio), tau, tau)[0]
    assert (gate.diff() >= 0).all()
    assert (gate > 0).all() and (gate <= 4 / tau).all()
    assert (sapo_gradient_weight(log_ratio, [1.0], tau, tau) >= 0).all()


@pytest.mark.parametrize("advantage, peak, where", [(1.0, 1.5747, 0.7227), (-1.0, 1.5363, 0.6890)])
def test_the_largest_weight_lies_where_the_page_says_and_both_ends_vanish(advantage, peak, where):
    log_ratio = torch.linspace(-20, 20, 400_001, dtype=torch.float64)[None]
    weight = sapo_gradient_weight(log_ratio, [advantage])[0]
    assert weight.max().item() == pytest.approx(peak, abs=1e-4)
    assert log_ratio[0, weight.argmax()].item() == pytest.approx(where, abs=2e-4)
    assert weight[0] < 1e-7 and weight[-1] < 1e-7


def test_negative_tokens_are_damped_sooner_with_the_defaults():
    log_ratio = torch.tensor([[-2.0, -0.5, -0.01, 0.01, 0.5, 2.0]], dtype=torch.float64)
    assert (sapo_gradient_weight(log_ratio, [-1.0]) < sapo_gradient_weight(log_ratio, [1.0])).all()


@given(seed=seeds, tau_pos=taus, tau_neg=taus)
@few
def test_the_gradient_weight_is_the_gradient(seed, tau_pos, tau_neg):
    batch = token_batch(seed, full=True, spread=1.0)
    weight = sapo_gradient_weight(batch.logps - batch.old_logps, batch.advantages, tau_pos, tau_neg)
    grad = gradient(
        lambda x: sapo_loss(x, batch.old_logps, batch.advantages, batch.mask, tau_pos, tau_neg), batch.logps
    )
    torch.testing.assert_close(grad, -weight * batch.advantages[:, None])


def test_one_outlier_token_changes_the_gradient_of_no_other():
    batch = token_batch(0, full=True)
    outlier = batch.logps.clone()
    outlier[1, 2] = batch.old_logps[1, 2] + 30
    grads = [
        gradient(lambda x: sapo_loss(x, batch.old_logps, batch.advantages, batch.mask), logps)
        for logps in (batch.logps, outlier)
    ]
    others = torch.ones_like(batch.mask)
    others[1, 2] = False
    assert torch.equal(grads[0][others], grads[1][others])


@pytest.mark.parametrize("name", ["tau_pos", "tau_neg"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_temperatures_outside_their_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        sapo_loss([[0.0]], [[0.0]], [1.0], [[1]], **{name: value})
    with pytest.raises(ValueError, match=name):
        sapo_gradient_weight([[0.0]], [1.0], **{name: value})


def test_a_zero_advantage_uses_the_negative_temperature():
    log_ratio = torch.tensor([[0.5]])
    at_zero, negative, positive = (sapo_gradient_weight(log_ratio, [value]) for value in (0.0, -1.0, 1.0))
    assert at_zero == negative != positive
