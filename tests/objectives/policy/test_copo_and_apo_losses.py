"""The blended loss of COPO and the KL-weighted loss of Asymmetric Policy Optimization."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_batches import few, gradient, seeds, token_batch

from alignkit.objectives.policy import apo_asymmetric_loss, copo_loss, grpo_loss


@given(seed=seeds, weight=st.sampled_from([0.0, 1.0]))
@few
def test_copo_with_a_weight_of_one_or_zero_is_grpo_on_that_advantage(seed, weight):
    batch = token_batch(seed)
    between = batch.advantages.flip(0)
    loss = copo_loss(batch.logps, batch.old_logps, batch.advantages, between, torch.full((4,), weight), batch.mask)
    chosen = batch.advantages if weight == 1 else between
    torch.testing.assert_close(loss, grpo_loss(batch.logps, batch.old_logps, chosen, batch.mask), check_dtype=False)


@given(seed=seeds)
@few
def test_copo_on_policy_is_minus_the_blend_of_the_advantages(seed):
    batch = token_batch(seed, full=True)
    between, weight = batch.advantages.flip(0), batch.advantages.sigmoid()
    loss = copo_loss(batch.logps, None, batch.advantages, between, weight, batch.mask)
    expected = -(weight * batch.advantages + (1 - weight) * between)
    torch.testing.assert_close(loss, expected[:, None].expand_as(loss))


def test_copo_blends_losses_not_advantages():
    ratio = math.log(2.0)
    loss = copo_loss([[ratio]], [[0.0]], [1.0], [-1.0], [0.5], [[1]])
    # Blended advantages would cancel; the losses do not: 0.5·(-1.2) + 0.5·2.
    assert loss.item() == pytest.approx(0.4)


def test_copo_dual_clip_caps_each_of_the_two_by_itself():
    loss = copo_loss([[3.0]], [[0.0]], [-1.0], [1.0], [0.5], [[1]], dual_clip=3.0)
    assert loss.item() == pytest.approx(0.5 * 3.0 + 0.5 * -1.2)
    loss = copo_loss([[3.0]], [[0.0]], [1.0], [-1.0], [0.5], [[1]], dual_clip=3.0)
    assert loss.item() == pytest.approx(0.5 * 3.0 + 0.5 * -1.2)


@pytest.mark.parametrize("dual_clip", [1.0, 0.0, math.nan])
def test_copo_refuses_a_dual_clip_that_is_not_above_one(dual_clip):
    with pytest.raises(ValueError, match="dual_clip"):
        copo_loss([[0.0]], [[0.0]], [1.0], [1.0], [0.5], [[1]], dual_clip=dual_clip)


@given(seed=seeds, beta=st.floats(0.001, 1.0))
@few
def test_apo_with_unit_weights_is_grpo_with_plain_kl(seed, beta):
    batch = token_batch(seed)
    loss = apo_asymmetric_loss(
        batch.logps, batch.old_logps, batch.advantages, batch.mask, batch.ref_logps, torch.ones(4), beta
    )
    plain = grpo_loss(
        batch.logps,
        batch.old_logps,
        batch.advantages,
        batch.mask,
        ref_logps=batch.ref_logps,
        beta=beta,
        use_bias_correction_kl=False,
    )
    torch.testing.assert_close(loss, plain)


def test_apo_without_beta_ignores_reference_and_weights():
    batch = token_batch(0)
    args = (batch.logps, batch.old_logps, batch.advantages, batch.mask)
    rubbish = torch.full_like(batch.ref_logps, math.nan)
    loss = apo_asymmetric_loss(*args, rubbish, torch.full((4,), math.inf), beta=0.0)
    assert torch.equal(loss, grpo_loss(*args))


@given(seed=seeds, weight=st.floats(0.0, 1.0))
@few
def test_apo_weight_scales_the_kl_gradient_of_its_sample_alone(seed, weight):
    batch = token_batch(seed, full=True)
    weights = torch.ones(4, dtype=torch.float64)
    weights[1] = weight

    def grad(kl_weights, beta=0.3):
        return gradient(
            lambda x: apo_asymmetric_loss(
                x, batch.old_logps, batch.advantages, batch.mask, batch.ref_logps, kl_weights, beta
            ),
            batch.logps,
        )

    surrogate, uniform = grad(weights, beta=0.0), grad(torch.ones(4))
    expected = surrogate + weights[:, None] * (uniform - surrogate)
    torch.testing.assert_close(grad(weights), expected)


def test_apo_refuses_a_negative_beta():
    batch = token_batch(0)
    with pytest.raises(ValueError, match="beta"):
        apo_asymmetric_loss(batch.logps, None, batch.advantages, batch.mask, batch.ref_logps, torch.ones(4), beta=-0.1)
