"""HAPO's entropy signal, redistribution and clip range."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_batches import few, gradient, seeds, token_batch

from alignkit.objectives.policy import (
    grpo_loss,
    hapo_clip_epsilons,
    hapo_entropy_signal,
    hapo_loss,
    hapo_redistribute,
)


def hapo_args(batch):
    return batch.logps, batch.old_logps, batch.advantages, batch.mask, batch.entropies


@given(seed=seeds)
@few
def test_both_strengths_zero_give_the_clip_higher_surrogate(seed):
    batch = token_batch(seed)
    torch.testing.assert_close(
        hapo_loss(*hapo_args(batch), adv_beta=0.0, clip_alpha=0.0), grpo_loss(*hapo_args(batch)[:4], 0.2, 0.28)
    )


@given(seed=seeds, quantile=st.floats(0.0, 1.0))
@few
def test_the_signal_is_bounded_and_positive_for_the_tokens_above_the_quantile(seed, quantile):
    batch = token_batch(seed, rows=6, tokens=8)
    signal, center, scale = hapo_entropy_signal(batch.entropies, batch.mask, quantile)
    assert signal.abs().max() <= 1 and (signal[~batch.mask] == 0).all()
    count = int(batch.mask.sum())
    assert int((signal > 0).sum()) == count - 1 - math.floor(quantile * (count - 1) + 0.5)
    log_entropies = batch.entropies[batch.mask].log()
    assert center in log_entropies.tolist()
    assert scale == pytest.approx(log_entropies.std(correction=0).item())


@given(seed=seeds, power=st.floats(0.2, 4.0), factor=st.floats(0.1, 10.0))
@few
def test_the_signal_ignores_powers_and_factors_of_the_entropy(seed, power, factor):
    batch = token_batch(seed)
    signal = hapo_entropy_signal(batch.entropies, batch.mask).signal
    changed = hapo_entropy_signal(factor * batch.entropies**power, batch.mask, eps=1e-300).signal
    torch.testing.assert_close(changed, signal)


@given(seed=seeds, clip_alpha=st.floats(0.0, 1.0))
@few
def test_at_most_one_epsilon_of_a_token_widens_and_at_most_to_twice_its_base(seed, clip_alpha):
    batch = token_batch(seed)
    signal = hapo_entropy_signal(batch.entropies, batch.mask).signal
    low, high = hapo_clip_epsilons(signal, 0.2, 0.28, clip_alpha)
    assert (low >= 0.2).all() and (low <= 0.4).all() and (high >= 0.28).all() and (high <= 0.56).all()
    assert ((low == 0.2) | (high == 0.28)).all()


@given(seed=seeds, adv_beta=st.floats(0.0, 1.0))
@few
def test_redistribution_never_changes_a_sign(seed, adv_beta):
    batch = token_batch(seed, full=True)
    signal = hapo_entropy_signal(batch.entropies, batch.mask).signal
    ratio = (batch.logps - batch.old_logps).exp()
    redistributed = hapo_redistribute(batch.advantages, signal, ratio, adv_beta=adv_beta)
    assert (redistributed * batch.advantages[:, None] >= 0).all()


@given(seed=seeds)
@few
def test_on_policy_uncertain_tokens_keep_their_advantage_and_the_most_certain_one_gets_none(seed):
    batch = token_batch(seed, full=True)
    signal = hapo_entropy_signal(batch.entropies, batch.mask).signal
    redistributed = hapo_redistribute(batch.advantages, signal, torch.ones_like(signal))
    advantages = batch.advantages[:, None].expand_as(signal)
    assert torch.equal(redistributed[signal > 0], advantages[signal > 0])
    assert redistributed.flatten()[batch.entropies.argmin()] == 0


def test_the_neutral_zone_is_closed():
    signal, ratio = torch.tensor([[0.5, 0.5, -0.5, -0.5]]), torch.tensor([[0.75, 1.25, 0.75, 1.25]])
    redistributed = hapo_redistribute([1.0], signal, ratio, epsilon_low=0.5, epsilon_high=0.5)
    assert redistributed.tolist() == [[1.0, 1.0, 0.5, 0.5]]


@given(seed=seeds)
@few
def test_inside_the_clip_the_gradient_is_minus_the_ratio_times_the_redistributed_advantage(seed):
    batch = token_batch(seed, full=True, spread=0.15)
    ratio = (batch.logps - batch.old_logps).exp()
    signal = hapo_entropy_signal(batch.entropies, batch.mask).signal
    epsilons = hapo_clip_epsilons(signal)
    inside = (ratio > 1 - epsilons.low) & (ratio < 1 + epsilons.high)
    expected = -ratio * hapo_redistribute(batch.advantages, signal, ratio)
    grad = gradient(lambda x: hapo_loss(x, *hapo_args(batch)[1:]), batch.logps)
    torch.testing.assert_close(grad[inside], expected[inside])


def test_equal_entropies_have_no_signal_and_give_the_plain_clipped_loss():
    batch = token_batch(0)
    equal = torch.full_like(batch.entropies, 0.7)
    signal, center, scale = hapo_entropy_signal(equal, batch.mask)
    assert (signal == 0).all() and scale == 0 and center == pytest.approx(math.log(0.7))
    torch.testing.assert_close(
        hapo_loss(*hapo_args(batch._replace(entropies=equal))), grpo_loss(*hapo_args(batch)[:4], 0.2, 0.28)
    )


@given(seed=seeds, quantile=st.floats(0.0, 1.0))
@few
def test_a_part_of_the_batch_with_the_entropies_of_all_has_the_signal_and_loss_of_the_whole(seed, quantile):
    whole = token_batch(seed, rows=6)
    everyone = whole.entropies[whole.mask][torch.randperm(int(whole.mask.sum()))]
    signal = hapo_entropy_signal(whole.entropies, whole.mask, quantile)
    loss = hapo_loss(*hapo_args(whole), quantile=quantile)
    for rows in (slice(0, 2), slice(2, 6)):
        part = type(whole)(*(value[rows] for value in whole))
        ours = hapo_entropy_signal(part.entropies, part.mask, quantile, population=everyone)
        torch.testing.assert_close(ours.signal, signal.signal[rows])
        assert ours.center == signal.center and ours.scale == pytest.approx(signal.scale)
        torch.testing.assert_close(hapo_loss(*hapo_args(part), quantile=quantile, population=everyone), loss[rows])


def test_an_empty_mask_has_no_signal():
    batch = token_batch(0)
    signal, center, scale = hapo_entropy_signal(batch.entropies, torch.zeros_like(batch.mask))
    assert (signal == 0).all() and center == 0 and scale == 0


def test_zero_entropies_are_floored():
    signal, center, _ = hapo_entropy_signal([[0.0, 1e-12, 1.0]], [[1, 1, 1]], quantile=0.0)
    assert center == pytest.approx(math.log(1e-8)) and signal.tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    "name, value",
    [
        ("quantile", 1.1),
        ("epsilon_low", 0.0),
        ("epsilon_low", 0.5),
        ("epsilon_high", 0.0),
        ("adv_beta", 1.1),
        ("clip_alpha", -0.1),
        ("clip_alpha", 4.0),
    ],
)
def test_hyperparameters_outside_their_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        hapo_loss(*hapo_args(token_batch(0)), **{name: value})


def test_entropies_of_another_shape_are_refused():
    batch = token_batch(0)
    with pytest.raises(ValueError, match=r"entropies|mask"):
        hapo_loss(*hapo_args(batch)[:4], batch.entropies[:, 1:])
