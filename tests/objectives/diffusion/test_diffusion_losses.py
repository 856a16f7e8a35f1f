"""Diffusion-DPO and SePPO: their limits, the signs of their gradients, and the noising they rest on."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.diffusion import (
    FLIPPERS,
    PREDICTION_TYPES,
    diffusion_dpo_loss,
    noised_sample,
    prediction_errors,
    prediction_target,
    seppo_flip,
    seppo_loss,
)


seeds = st.integers(0, 10**6)
flippers = st.sampled_from(FLIPPERS)
quick = settings(max_examples=30, deadline=None)


def errors(seed, size=6):
    """Errors around 0.1 of policy and reference on winner and sample, four [size]; every third anchor is a tie."""
    generator = torch.Generator().manual_seed(seed)
    drawn = 0.1 + 0.002 * torch.randn(4, size, generator=generator, dtype=torch.float64)
    drawn[0, ::3] = drawn[2, ::3]
    return list(drawn)


@given(seeds, st.floats(1, 1e4))
@quick
def test_without_a_flipper_seppo_is_diffusion_dpo_on_winner_and_sample(seed, beta):
    drawn = errors(seed)
    torch.testing.assert_close(
        seppo_loss(*drawn, beta=beta, flipper="none"), diffusion_dpo_loss(*drawn, beta=beta), rtol=0, atol=0
    )


@given(seeds, flippers)
@quick
def test_a_policy_that_is_the_reference_has_loss_log_2(seed, flipper):
    first, second, *_ = errors(seed)
    expected = torch.full_like(first, math.log(2))
    torch.testing.assert_close(seppo_loss(first, second, first, second, flipper=flipper), expected)
    torch.testing.assert_close(diffusion_dpo_loss(first, second, first, second), expected)


@given(seeds, flippers)
@quick
def test_the_winners_error_is_always_pushed_down_and_the_samples_by_the_flip(gradient_of, seed, flipper):
    policy_first, policy_second, ref_first, ref_second = errors(seed)
    winner, sample = gradient_of(
        lambda first, second: seppo_loss(first, second, ref_first, ref_second, beta=100.0, flipper=flipper),
        policy_first,
        policy_second,
    )
    flip = seppo_flip(policy_first, ref_first, flipper)
    assert (winner > 0).all()
    assert torch.equal(sample.sign(), -flip)


@given(seeds)
@quick
def test_on_a_tie_the_sample_contributes_nothing(gradient_of, seed):
    first, second, _, ref_second = errors(seed)
    (gradient,) = gradient_of(lambda sample: seppo_loss(first, sample, first, ref_second), second)
    assert torch.equal(seppo_flip(first, first), torch.zeros_like(first))
    assert torch.equal(gradient, torch.zeros_like(gradient))


@given(seeds)
@quick
def test_sign_and_indicator_agree_where_the_policy_predicts_the_winner_better(seed):
    policy, sample, ref, ref_sample = errors(seed)
    better = ref > policy
    both = [seppo_loss(policy, sample, ref, ref_sample, flipper=flipper) for flipper in ("sign", "indicator")]
    torch.testing.assert_close(both[0][better], both[1][better], rtol=0, atol=0)
    assert (seppo_flip(policy, ref, "indicator") == better).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("margin", [4000.0, -4000.0])
def test_extreme_margins_stay_finite_and_the_gradient_bounded(gradient_of, margin, dtype):
    beta, weight = 5000.0, 0.7
    policy = torch.tensor([margin / beta], dtype=dtype)
    zero = torch.zeros(1, dtype=dtype)

    def loss(first, second):
        return seppo_loss(first, second, zero, zero, beta=beta, weights=[weight])

    assert torch.isfinite(loss(policy, -policy)).all()
    for gradient in gradient_of(loss, policy, -policy):
        assert gradient.abs().item() <= 0.5 * beta * weight * 1.01


@given(seeds, st.floats(0.01, 100), flippers)
@quick
def test_scaling_the_errors_and_beta_inversely_changes_nothing(seed, factor, flipper):
    drawn = errors(seed)
    scaled = seppo_loss(*(factor * values for values in drawn), beta=500.0 / factor, flipper=flipper)
    torch.testing.assert_close(scaled, seppo_loss(*drawn, beta=500.0, flipper=flipper))


@given(seeds, flippers)
@quick
def test_the_reference_and_the_flip_carry_no_gradient(gradient_of, seed, flipper):
    """The gradient by the policy's errors is the closed one in which s and the reference are constants."""
    drawn, beta = errors(seed), 100.0
    policy_first, policy_second, ref_first, ref_second = drawn
    winner, sample, *references = gradient_of(lambda *four: seppo_loss(*four, beta=beta, flipper=flipper), *drawn)
    flip = seppo_flip(policy_first, ref_first, flipper)
    gap = (policy_first - ref_first) - flip * (policy_second - ref_second)
    strength = 0.5 * beta * torch.sigmoid(0.5 * beta * gap)
    torch.testing.assert_close(winner, strength)
    torch.testing.assert_close(sample, -flip * strength)
    assert references == [None, None]


@given(seeds)
@quick
def test_a_weight_of_zero_leaves_log_2_whatever_the_errors(seed):
    drawn = errors(seed)
    loss = diffusion_dpo_loss(*drawn, weights=torch.zeros(6))
    torch.testing.assert_close(loss, torch.full_like(loss, math.log(2)))


@given(seeds, st.sampled_from(PREDICTION_TYPES))
@quick
def test_every_prediction_type_tells_the_clean_sample(seed, prediction_type):
    """Sample and target together determine x: each target inverts to it."""
    generator = torch.Generator().manual_seed(seed)
    sample, noise = torch.randn(2, 3, 4, 2, 2, generator=generator, dtype=torch.float64)
    sigma = 0.05 + 0.9 * torch.rand(3, generator=generator, dtype=torch.float64)
    alpha = 1 - sigma if prediction_type == "flow" else (1 - sigma**2).sqrt()
    noised = noised_sample(sample, noise, alpha, sigma)
    target = prediction_target(sample, noise, alpha, sigma, prediction_type)
    a, s = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    recovered = {
        "epsilon": lambda: (noised - s * target) / a,
        "sample": lambda: target,
        "v_prediction": lambda: a * noised - s * target,
        "flow": lambda: noised - s * target,
    }[prediction_type]()
    torch.testing.assert_close(recovered, sample)


def test_the_error_is_a_mean_so_that_it_does_not_grow_with_the_image():
    small, large = torch.ones(2, 4, 8, 8), torch.ones(2, 4, 16, 16)
    assert prediction_errors(small, 0 * small).tolist() == prediction_errors(large, 0 * large).tolist() == [1.0, 1.0]


def test_half_precision_predictions_are_compared_in_float32():
    prediction = torch.full((1, 4), 1.0, dtype=torch.bfloat16)
    error = prediction_errors(prediction, prediction.float() + 1e-4)
    assert error.dtype == torch.float32 and error.item() == pytest.approx(1e-8, rel=1e-2)
