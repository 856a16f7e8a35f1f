"""MADPO: the coefficient, the weights, and the target margin of a pair at the population optimum."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.preference import dpo_loss, madpo_coefficient, madpo_loss, madpo_weights


seeds = st.integers(0, 10**6)
margins = st.floats(-900, 900)
hyperparameters = st.fixed_dictionaries(
    {"c_min": st.floats(0.05, 0.95), "c_max": st.floats(1.05, 8), "lam": st.floats(0.2, 3), "tau": st.floats(0.5, 10)}
)


@given(hyperparameters)
@settings(max_examples=50, deadline=None)
def test_coefficient_is_one_at_tau(settings):
    assert madpo_coefficient([settings["tau"]], **settings).item() == pytest.approx(1, abs=1e-12)


@given(hyperparameters, margins)
@settings(max_examples=100, deadline=None)
def test_coefficient_is_bounded_symmetric_and_decreasing_in_the_size_of_the_margin(settings, margin):
    here, mirrored, further = madpo_coefficient([margin, -margin, abs(margin) + 0.1], **settings)
    assert settings["c_min"] - 1e-12 <= here <= settings["c_max"] + 1e-12
    assert here == mirrored and further <= here
    assert settings["c_min"] == pytest.approx(madpo_coefficient([900.0], **settings).item(), abs=1e-9)


@given(hyperparameters, margins)
@settings(max_examples=100, deadline=None)
def test_weights_lie_between_zero_and_two_and_are_one_for_pairs_ranked_far_against_their_label(settings, margin):
    weight = madpo_weights([margin], **settings).item()
    assert 0 < weight < 2
    if margin <= -settings["tau"]:
        assert weight == 1


@given(hyperparameters)
@settings(max_examples=50, deadline=None)
def test_weights_are_one_at_zero_and_at_plus_and_minus_tau(settings):
    tau = settings["tau"]
    weights = madpo_weights([0.0, tau, -tau, -tau + 1e-9], **settings)
    # The last one, just inside, shows that the weight does not jump at -tau.
    torch.testing.assert_close(weights, torch.ones_like(weights), atol=1e-7, rtol=0)


@given(hyperparameters, st.floats(0.001, 0.999))
@settings(max_examples=100, deadline=None)
def test_agreeing_hard_pairs_gain_weight_and_contradicted_ones_lose_it(settings, share):
    tau = settings["tau"]
    hard, contradicted, easy = madpo_weights([share * tau, -share * tau, tau + share], **settings)
    assert hard > 1 - 1e-12 and contradicted < 1 + 1e-12 and easy <= 1
    assert madpo_weights([800.0], **settings).item() == pytest.approx(1, abs=1e-9)


def test_least_weight_at_the_defaults_is_near_seven_in_a_hundred_thousand():
    assert madpo_weights(torch.linspace(-7, 0, 7001, dtype=torch.float64)).min().item() == pytest.approx(7e-5, rel=0.1)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_coefficients_near_one_give_dpo(draw_logps, seed):
    logps, rewards = draw_logps(seed, 4), draw_logps(seed, 2)
    loss = madpo_loss(*logps, rewards[0] - rewards[1], c_min=1 - 1e-9, c_max=1 + 1e-9)
    torch.testing.assert_close(loss, dpo_loss(*logps), atol=1e-6, rtol=1e-6)


@given(st.floats(-6.9, 6.9), st.floats(0.05, 2))
@settings(max_examples=30, deadline=None)
def test_population_optimum_of_a_pair_is_the_scaled_margin(margin, beta):
    """Labels drawn with probability sigma(h): the gradient in the gap vanishes at beta * gap = c(|h|) h."""
    probability = 1 / (1 + math.exp(-margin))
    target = madpo_coefficient([margin]).item() * margin
    gap = torch.tensor([target / beta], dtype=torch.float64, requires_grad=True)
    won = madpo_loss(gap, [0.0], [0.0], [0.0], [margin], beta)
    lost = madpo_loss([0.0], gap, [0.0], [0.0], [-margin], beta)
    population = probability * won + (1 - probability) * lost
    (gradient,) = torch.autograd.grad(population.sum(), gap)
    scale = beta * max(probability, 1 - probability)
    assert abs(gradient.item()) < 1e-10 * scale + 1e-12
    # A minimum and not another stationary point: the loss is convex in the gap.
    for offset in (-0.1, 0.1):
        moved = [target / beta + offset]
        around = probability * madpo_loss(moved, [0.0], [0.0], [0.0], [margin], beta) + (1 - probability) * madpo_loss(
            [0.0], moved, [0.0], [0.0], [-margin], beta
        )
        assert around.item() >= population.item()


@pytest.mark.parametrize("margin", [-9.0, 7.5, 12.0])
def test_beyond_tau_the_clipped_side_moves_the_optimum(margin):
    """Of the two labels one has weight 1: the target is log[sigma(c|h|) / sigma(-|h|)] in the direction of h."""
    size = abs(margin)
    coefficient = madpo_coefficient([size]).item()
    target = math.log((1 / (1 + math.exp(-coefficient * size))) / (1 / (1 + math.exp(size))))
    gap = torch.tensor([target], dtype=torch.float64, requires_grad=True)
    probability = 1 / (1 + math.exp(-size))
    won = madpo_loss(gap, [0.0], [0.0], [0.0], [size], beta=1.0)
    lost = madpo_loss([0.0], gap, [0.0], [0.0], [-size], beta=1.0)
    (gradient,) = torch.autograd.grad((probability * won + (1 - probability) * lost).sum(), gap)
    assert abs(gradient.item()) < 1e-12


@given(seeds, st.floats(0.05, 2))
@settings(max_examples=30, deadline=None)
def test_gradient_is_that_of_dpo_times_the_weight(draw_logps, gradient_of, seed, beta):
    logps = draw_logps(seed, 4)
    rewards = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 4
    gradients = gradient_of(lambda *inputs: madpo_loss(*inputs, beta=beta), *logps, rewards)
    gap = logps[0] - logps[2] - logps[1] + logps[3]
    expected = -beta * madpo_weights(rewards) * torch.sigmoid(-beta * gap)
    torch.testing.assert_close(gradients[0], expected)
    torch.testing.assert_close(gradients[1], -expected)
    assert (gradients[0] <= 0).all()
    assert all(gradient is None for gradient in gradients[2:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_extreme_margins_give_finite_losses_and_gradients(dtype):
    rewards = torch.tensor([-900.0, -104.0, -7.0, 0.0, 7.0, 104.0, 900.0], dtype=dtype)
    policy = torch.zeros(7, dtype=dtype, requires_grad=True)
    loss = madpo_loss(policy, torch.zeros(7, dtype=dtype), [0.0] * 7, [0.0] * 7, rewards)
    loss.sum().backward()
    assert loss.isfinite().all() and policy.grad.isfinite().all()
    assert madpo_coefficient(rewards).isfinite().all()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"c_min": 0.0}, "`c_min` is 0.0"),
        ({"c_min": 1.0}, "`c_min` is 1.0"),
        ({"c_max": 1.0}, "`c_max` is 1.0"),
        ({"lam": 0.0}, "`lam` is 0.0"),
        ({"tau": 0.0}, "`tau` is 0.0"),
        ({"tau": math.nan}, "`tau` is nan"),
        ({"beta": 0.0}, "`beta` is 0.0"),
        ({"margins": [1.0]}, "`margins` has shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    names = ("policy_chosen_logps", "policy_rejected_logps", "ref_chosen_logps", "ref_rejected_logps")
    with pytest.raises(ValueError, match=message):
        madpo_loss(**dict.fromkeys(names, (-3.0, -4.0)) | {"margins": [1.0, -1.0]} | changes)
