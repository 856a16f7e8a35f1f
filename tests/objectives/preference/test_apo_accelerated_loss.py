"""Accelerated preference optimisation: momentum on the reference, in log-probabilities and in parameters."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.preference import (
    apo_accelerated_extrapolate,
    apo_accelerated_loss,
    apo_accelerated_policy,
    dpo_loss,
)


seeds = st.integers(0, 10**6)
alphas = st.floats(0, 0.95)


def logits(seed, count=2, rows=4, size=6):
    return 3 * torch.randn(count, rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, st.floats(0.01, 2))
@settings(max_examples=30, deadline=None)
def test_zero_momentum_is_iterative_dpo_and_ignores_the_previous_policy(draw_logps, seed, beta):
    logps = draw_logps(seed, 6)
    loss = apo_accelerated_loss(*logps, beta=beta, alpha=0.0)
    assert torch.equal(loss, dpo_loss(*logps[:4], beta=beta))
    assert torch.equal(loss, apo_accelerated_loss(*logps[:4], *draw_logps(seed + 1, 2), beta=beta, alpha=0.0))


@given(seeds, alphas, st.floats(0.01, 2))
@settings(max_examples=30, deadline=None)
def test_without_a_step_there_is_no_momentum(draw_logps, seed, alpha, beta):
    logps = draw_logps(seed, 4)
    assert torch.equal(apo_accelerated_loss(*logps, *logps[2:], beta, alpha), dpo_loss(*logps, beta=beta))


@given(seeds, alphas, st.floats(0.01, 2))
@settings(max_examples=30, deadline=None)
def test_ipo_is_zero_where_the_gap_to_the_extrapolated_reference_is_half_over_beta(draw_logps, seed, alpha, beta):
    policy_rejected, *references = draw_logps(seed, 5)
    chosen, rejected, previous_chosen, previous_rejected = references
    anchor = (1 + alpha) * (chosen - rejected) - alpha * (previous_chosen - previous_rejected)
    for offset in (0.0, 3.0):
        policy_chosen = policy_rejected + anchor + 1 / (2 * beta) + offset
        loss = apo_accelerated_loss(policy_chosen, policy_rejected, *references, beta, alpha, "ipo")
        torch.testing.assert_close(loss, torch.full_like(loss, offset**2), atol=1e-9, rtol=1e-9)


@given(seeds, alphas, st.integers(0, 2), st.floats(-100, 100), st.sampled_from(["sigmoid", "ipo"]))
@settings(max_examples=40, deadline=None)
def test_a_constant_on_both_log_probabilities_of_a_model_changes_nothing(
    draw_logps, seed, alpha, model, constant, loss_type
):
    logps = draw_logps(seed, 6)
    shifted = [tensor + constant * (index // 2 == model) for index, tensor in enumerate(logps)]
    torch.testing.assert_close(
        apo_accelerated_loss(*shifted, alpha=alpha, loss_type=loss_type),
        apo_accelerated_loss(*logps, alpha=alpha, loss_type=loss_type),
    )


@given(seeds, alphas)
@settings(max_examples=30, deadline=None)
def test_extrapolated_policy_is_normalised_and_ignores_constants_in_the_logits(seed, alpha):
    current, previous = logits(seed)
    policy = apo_accelerated_policy(current, previous, alpha)
    torch.testing.assert_close(policy.exp().sum(-1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(apo_accelerated_policy(current + 7, previous, alpha), policy)
    torch.testing.assert_close(apo_accelerated_policy(current, previous - 9, alpha), policy)


@given(seeds, alphas)
@settings(max_examples=30, deadline=None)
def test_extrapolating_the_parameters_of_a_log_linear_policy_is_exact(seed, alpha):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    current, previous = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    extrapolated = features @ apo_accelerated_extrapolate(current, previous, alpha)
    torch.testing.assert_close(
        extrapolated.log_softmax(0), apo_accelerated_policy(features @ current, features @ previous, alpha)
    )


@given(seeds, alphas)
@settings(max_examples=30, deadline=None)
def test_unnormalised_reference_gives_the_same_loss_as_the_normalised_policy(seed, alpha):
    current, previous = logits(seed).log_softmax(-1)
    policy = logits(seed + 1, count=1)[0].log_softmax(-1)
    chosen, rejected = (..., 0), (..., 3)
    exact = apo_accelerated_loss(
        policy[chosen],
        policy[rejected],
        current[chosen],
        current[rejected],
        previous[chosen],
        previous[rejected],
        alpha=alpha,
    )
    reference = apo_accelerated_policy(current, previous, alpha)
    dpo = dpo_loss(policy[chosen], policy[rejected], reference[chosen], reference[rejected])
    torch.testing.assert_close(exact, dpo)


def exact_steps(reward, beta, alpha, steps):
    """Log-probabilities of the trained policies of exact proximal steps on a fixed reward."""
    policy = trained = torch.full_like(reward, 1 / len(reward)).log()
    result = []
    for _ in range(steps):
        previous, trained = trained, torch.log_softmax(policy + reward / beta, 0)
        policy = apo_accelerated_policy(trained, previous, alpha)
        result.append(trained)
    return result


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.6])
def test_exact_steps_follow_the_closed_form(alpha):
    reward = torch.randn(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for index, trained in enumerate(exact_steps(reward, 2.0, alpha, 8)):
        steps = index + 1
        factor = (steps - alpha * (1 - alpha**steps) / (1 - alpha)) / (1 - alpha)
        torch.testing.assert_close(trained, torch.log_softmax(factor * reward / 2.0, 0))


def test_momentum_is_ahead_from_the_second_exact_step_on_and_equal_at_the_first():
    reward = torch.randn(20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = {
        alpha: [float(policy.exp() @ reward) for policy in exact_steps(reward, 1.0, alpha, 6)] for alpha in (0.0, 0.3)
    }
    assert values[0.3][0] == pytest.approx(values[0.0][0], abs=1e-12)
    assert all(fast > plain for fast, plain in zip(values[0.3][1:], values[0.0][1:], strict=True))


@given(seeds, alphas)
@settings(max_examples=30, deadline=None)
def test_extrapolation_keeps_equal_arguments_and_can_be_undone(seed, alpha):
    current, previous = logits(seed)
    assert torch.equal(apo_accelerated_extrapolate(current, current, alpha), current)
    extrapolated = apo_accelerated_extrapolate(current, previous, alpha)
    torch.testing.assert_close((extrapolated + alpha * previous) / (1 + alpha), current)


def test_half_precision_parameters_are_extrapolated_in_float32_and_keep_their_dtype():
    current, previous = logits(3).to(torch.bfloat16)
    extrapolated = apo_accelerated_extrapolate(current, previous, 0.3)
    exact = 1.3 * current.float() - 0.3 * previous.float()
    assert extrapolated.dtype == torch.bfloat16
    torch.testing.assert_close(extrapolated, exact.to(torch.bfloat16), rtol=0, atol=0)


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo"])
def test_half_precision_log_probabilities_are_extrapolated_in_float32(draw_logps, loss_type):
    logps = [tensor.to(torch.bfloat16) for tensor in draw_logps(4, 6)]
    loss = apo_accelerated_loss(*logps, beta=0.002, loss_type=loss_type)
    exact = apo_accelerated_loss(*[tensor.double() for tensor in logps], beta=0.002, loss_type=loss_type)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)


def test_an_excluded_response_stays_excluded_without_nan():
    current = torch.tensor([[0.0, -math.inf, 1.0]], dtype=torch.float64, requires_grad=True)
    policy = apo_accelerated_policy(current, [[0.0, -math.inf, 0.5]], 0.3)
    assert policy[0, 1] == -math.inf and policy.exp().sum().item() == pytest.approx(1)
    policy[0, 0].backward()
    assert current.grad.isfinite().all()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"alpha": -0.1}, r"`alpha` is -0.1; valid range: \[0.0, 1.0\)"),
        ({"alpha": 1.0}, "`alpha` is 1.0"),
        ({"alpha": math.nan}, "`alpha` is nan"),
        ({"beta": 0.0}, "`beta` is 0.0"),
        ({"beta": -1.0}, "`beta` is -1.0"),
        ({"loss_type": "sppo"}, "`loss_type` is 'sppo'; valid values: 'sigmoid', 'ipo'"),
        ({"previous_chosen_logps": [-1.0]}, "`previous_chosen_logps` has shape"),
        ({"ref_rejected_logps": [-1.0]}, "`ref_rejected_logps` has shape"),
        ({"policy_chosen_logps": [-1.0]}, "has shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    names = [f"{model}_{side}_logps" for model in ("policy", "ref", "previous") for side in ("chosen", "rejected")]
    with pytest.raises(ValueError, match=message):
        apo_accelerated_loss(**dict.fromkeys(names, (-3.0, -4.0)) | changes)


@pytest.mark.parametrize("function", [apo_accelerated_extrapolate, apo_accelerated_policy])
def test_unequal_shapes_and_bad_momentum_are_refused(function):
    with pytest.raises(ValueError, match="`previous` has shape"):
        function([[1.0, 2.0]], [[1.0, 2.0, 3.0]])
    for alpha in (-0.1, 1.0):
        with pytest.raises(ValueError, match="`alpha` is"):
            function([[1.0, 2.0]], [[1.0, 2.0]], alpha)


def test_only_the_policy_receives_a_gradient(draw_logps, gradient_of):
    gradients = gradient_of(apo_accelerated_loss, *draw_logps(3, 6))
    assert [gradient is not None for gradient in gradients] == [True, True, False, False, False, False]
