"""What every token loss must hold: masked places never matter, extremes stay finite, only the policy has a gradient."""

import math

import pytest
import torch
from hypothesis import given
from token_batches import few, gradient, seeds, token_batch

from alignkit.objectives.policy import (
    apo_asymmetric_loss,
    bapo_loss,
    copo_loss,
    grpo_loss,
    hapo_loss,
    mhpo_loss,
    ppo_loss,
    sapo_loss,
)


LOSSES = {
    "grpo": lambda b: grpo_loss(b.logps, b.old_logps, b.advantages, b.mask),
    "grpo_delta_kl": lambda b: grpo_loss(
        b.logps, b.old_logps, b.advantages, b.mask, delta=3.0, ref_logps=b.ref_logps, beta=0.1
    ),
    "grpo_plain_kl": lambda b: grpo_loss(
        b.logps, b.old_logps, b.advantages, b.mask, ref_logps=b.ref_logps, beta=0.1, use_bias_correction_kl=False
    ),
    "grpo_sequence": lambda b: grpo_loss(
        b.logps, b.old_logps, b.advantages, b.mask, importance_sampling_level="sequence"
    ),
    "copo": lambda b: copo_loss(
        b.logps, b.old_logps, b.advantages, -b.advantages, b.advantages.sigmoid(), b.mask, dual_clip=3.0
    ),
    "apo_asymmetric": lambda b: apo_asymmetric_loss(
        b.logps, b.old_logps, b.advantages, b.mask, b.ref_logps, b.advantages.sigmoid(), beta=0.1
    ),
    "sapo": lambda b: sapo_loss(b.logps, b.old_logps, b.advantages, b.mask),
    "mhpo": lambda b: mhpo_loss(b.logps, b.old_logps, b.advantages, b.mask),
    "bapo": lambda b: bapo_loss(b.logps, b.old_logps, b.advantages, b.mask, low=0.6, high=1.2),
    "ppo": lambda b: ppo_loss(b.logps, b.old_logps, b.advantages, b.mask, dual_clip=3.0),
    "hapo": lambda b: hapo_loss(b.logps, b.old_logps, b.advantages, b.mask, b.entropies),
}
each_loss = pytest.mark.parametrize("loss_of", LOSSES.values(), ids=LOSSES)


@each_loss
@pytest.mark.parametrize("rubbish", [math.nan, math.inf, -math.inf])
def test_rubbish_under_the_mask_changes_neither_loss_nor_gradient(loss_of, rubbish):
    batch = token_batch(1)
    dirty = batch._replace(
        **{
            name: torch.where(batch.mask, getattr(batch, name), rubbish)
            for name in ("logps", "old_logps", "ref_logps", "entropies")
        }
    )
    assert torch.equal(loss_of(dirty), loss_of(batch))
    grad = gradient(lambda logps: loss_of(dirty._replace(logps=logps)), dirty.logps)
    assert torch.equal(grad, gradient(lambda logps: loss_of(batch._replace(logps=logps)), batch.logps))


@each_loss
@given(seed=seeds)
@few
def test_masked_places_are_exactly_zero(loss_of, seed):
    batch = token_batch(seed)
    loss = loss_of(batch)
    assert (loss[~batch.mask] == 0).all()
    assert (loss[batch.mask] != 0).any()
    assert (gradient(lambda logps: loss_of(batch._replace(logps=logps)), batch.logps)[~batch.mask] == 0).all()


@each_loss
def test_everything_masked_gives_zero_loss_and_gradient(loss_of):
    batch = token_batch(2)
    batch = batch._replace(mask=torch.zeros_like(batch.mask))
    assert (loss_of(batch) == 0).all()
    assert (gradient(lambda logps: loss_of(batch._replace(logps=logps)), batch.logps) == 0).all()


@each_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shift", [-500.0, -200.0, -60.0, 60.0, 90.0, 200.0, 500.0])
def test_extreme_log_ratios_stay_finite_in_value_and_gradient(loss_of, dtype, shift):
    batch = token_batch(3, full=True, dtype=dtype)
    batch = batch._replace(logps=batch.old_logps + shift)
    assert loss_of(batch).isfinite().all()
    assert gradient(lambda logps: loss_of(batch._replace(logps=logps)), batch.logps).isfinite().all()


@each_loss
@given(seed=seeds)
@few
def test_float32_agrees_with_float64_and_keeps_its_dtype(loss_of, seed):
    batch = token_batch(seed)
    single = batch._replace(**{k: v.float() for k, v in batch._asdict().items() if v.is_floating_point()})
    loss = loss_of(single)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), loss_of(batch), atol=2e-5, rtol=2e-4)


@each_loss
def test_only_the_policy_log_probabilities_have_a_gradient(loss_of):
    batch = token_batch(4)
    tracked = type(batch)(*(v.clone().requires_grad_() if v.is_floating_point() else v for v in batch))
    names = [name for name in batch._fields if name != "mask"]
    grads = torch.autograd.grad(loss_of(tracked).sum(), [getattr(tracked, name) for name in names], allow_unused=True)
    assert [name for name, grad in zip(names, grads, strict=True) if grad is not None] == ["logps"]


@each_loss
def test_shapes_that_differ_are_refused_by_name(loss_of):
    batch = token_batch(5)
    with pytest.raises(ValueError, match="mask"):
        loss_of(batch._replace(mask=batch.mask[:, 1:]))
    with pytest.raises(ValueError, match="old_logps"):
        loss_of(batch._replace(old_logps=batch.old_logps[1:]))
    with pytest.raises(ValueError, match=r"advantages|local_weight|kl_weights"):
        loss_of(batch._replace(advantages=batch.advantages[1:]))


@each_loss
def test_zero_advantages_give_no_policy_gradient(loss_of):
    batch = token_batch(6, full=True)
    batch = batch._replace(advantages=torch.zeros_like(batch.advantages), ref_logps=batch.logps)
    assert (loss_of(batch) == 0).all()
    assert (gradient(lambda logps: loss_of(batch._replace(logps=logps)), batch.logps) == 0).all()


def test_old_logps_of_none_means_exactly_on_policy():
    batch = token_batch(7)
    for loss in (grpo_loss, sapo_loss, mhpo_loss, ppo_loss):
        on_policy = loss(batch.logps, batch.logps, batch.advantages, batch.mask)
        assert torch.equal(loss(batch.logps, None, batch.advantages, batch.mask), on_policy)
        assert torch.equal(
            gradient(lambda logps, loss=loss: loss(logps, None, batch.advantages, batch.mask), batch.logps),
            gradient(lambda logps, loss=loss: loss(logps, batch.logps, batch.advantages, batch.mask), batch.logps),
        )


@pytest.mark.parametrize("name", ["grpo", "grpo_plain_kl", "sapo", "mhpo", "bapo", "hapo", "ppo"])
def test_token_advantages_are_taken_and_ignored_under_the_mask(name):
    batch = token_batch(8)
    spread = torch.where(batch.mask, batch.advantages[:, None], math.nan)
    assert torch.equal(LOSSES[name](batch._replace(advantages=spread)), LOSSES[name](batch))
