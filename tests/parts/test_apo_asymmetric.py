"""The two parts `apo_asymmetric`: length factor, KL weights, and which reward tells what is correct."""

import math

import pytest
import torch
from part_batches import make_rollouts, make_tokens

from alignkit.errors import InputError
from alignkit.objectives.advantages import apo_asymmetric_advantages, apo_asymmetric_kl_weights, grpo_advantages
from alignkit.objectives.policy import apo_asymmetric_loss
from alignkit.parts.advantages.apo_asymmetric import APOAsymmetricAdvantages, APOAsymmetricAdvantagesConfig
from alignkit.parts.policy_losses.apo_asymmetric import APOAsymmetricLoss
from alignkit.parts.policy_losses.base import PolicyLossConfig


REWARDS, LENGTHS = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [10, 40, 5, 12, 90, 3, 8, 20]
NAMES = ["format", "accuracy"]


def estimate(batch, **settings):
    return APOAsymmetricAdvantages(APOAsymmetricAdvantagesConfig(**settings)).estimate(batch)


def test_estimates_are_the_objectives():
    found = estimate(make_rollouts(REWARDS, 4, lengths=LENGTHS), stcr_base=1.1)
    assert torch.equal(found.values, apo_asymmetric_advantages(REWARDS, 4, LENGTHS, stcr_base=1.1))
    assert torch.equal(found.extras["kl_weights"], apo_asymmetric_kl_weights(REWARDS, 4))
    plain = grpo_advantages(REWARDS, 4)
    assert found.metrics["apo_asymmetric/overlong_share"] == pytest.approx(2 / 8)
    assert found.metrics["apo_asymmetric/length_factor_max"] == pytest.approx(
        (found.values / plain)[4].item(), rel=1e-6
    )


def test_each_asymmetry_has_its_switch():
    batch = make_rollouts(REWARDS, 4, lengths=LENGTHS)
    no_length = estimate(batch, stcr_base=1.1, use_stcr=False)
    assert torch.equal(no_length.values, grpo_advantages(REWARDS, 4))
    assert (no_length.extras["kl_weights"] < 1).any()
    no_weights = estimate(batch, stcr_base=1.1, use_dads=False)
    assert (no_weights.extras["kl_weights"] == 1).all()
    assert not torch.equal(no_weights.values, grpo_advantages(REWARDS, 4))


def test_the_named_reward_tells_what_is_correct_and_their_sum_gives_the_advantages():
    accuracy = torch.tensor(REWARDS, dtype=torch.float64)
    form = torch.tensor([0.0, 1.0] * 4, dtype=torch.float64)
    batch = make_rollouts(torch.stack([form, accuracy], dim=1), 4, NAMES, LENGTHS, weights=[0.5, 1.0])
    found = estimate(batch, stcr_base=1.1, correct_reward="accuracy")
    total = accuracy + 0.5 * form
    plain = grpo_advantages(total, 4)
    torch.testing.assert_close(found.values[accuracy == 1], plain[accuracy == 1])
    expected = apo_asymmetric_advantages(total, 4, LENGTHS, 1.0, 1.1, correctness=accuracy)
    assert torch.equal(found.values, expected) and not torch.equal(expected, plain)
    weights = apo_asymmetric_kl_weights(total, 4, correctness=accuracy)
    assert torch.equal(found.extras["kl_weights"], weights)
    # A format that lifts the sum of a wrong answer to 1 does not make the prompt easier: one of four is right.
    lifted = make_rollouts(torch.stack([2 * form, accuracy], dim=1), 4, NAMES, LENGTHS, weights=[0.5, 1.0])
    weight = estimate(lifted, correct_reward="accuracy").extras["kl_weights"][7].item()
    assert weight == pytest.approx(1 - math.exp(-math.e / 4))
    assert torch.equal(estimate(lifted, correct_reward=1).values, estimate(lifted, correct_reward="accuracy").values)
    assert torch.equal(estimate(lifted, correct_reward="1").values, estimate(lifted, correct_reward=1).values)


@pytest.mark.parametrize("chosen", [None, "box", 2, -1, "7"])
def test_an_unknown_reward_or_none_among_several_is_refused_with_the_names(chosen):
    part = APOAsymmetricAdvantages(APOAsymmetricAdvantagesConfig(correct_reward=chosen))
    with pytest.raises(InputError, match=r"correct_reward.*format, accuracy"):
        part.check_rewards(NAMES)


def test_a_single_reward_needs_no_name():
    APOAsymmetricAdvantages(APOAsymmetricAdvantagesConfig()).check_rewards(["accuracy"])


def test_the_loss_weighs_the_kl_of_each_completion():
    weights = torch.tensor([0.3, 1.0, 0.7, 1.0], dtype=torch.float64)
    batch = make_tokens(extras={"kl_weights": weights}, beta=0.2, epsilon_low=0.1, epsilon_high=0.3)
    loss = APOAsymmetricLoss(PolicyLossConfig()).token_loss(batch)
    expected = apo_asymmetric_loss(
        batch.logps, batch.old_logps, batch.advantages, batch.mask, batch.ref_logps, weights, 0.2, 0.1, 0.3
    )
    assert torch.equal(loss, expected)
    kl = batch.metrics["apo_asymmetric/kl"]
    torch.testing.assert_close(batch.metrics["apo_asymmetric/weighted_kl"], weights[:, None] * kl)
    assert (kl >= 0).all() and (kl > 0).any()


def test_without_beta_no_reference_is_needed():
    batch = make_tokens(extras={"kl_weights": torch.ones(4)}, ref_logps=None)
    loss = APOAsymmetricLoss(PolicyLossConfig()).token_loss(batch)
    assert loss.isfinite().all() and "apo_asymmetric/kl" not in batch.metrics


@pytest.mark.parametrize("settings", [{"stcr_base": 0.9}, {"correct_threshold": float("inf")}])
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        APOAsymmetricAdvantagesConfig(**settings)
