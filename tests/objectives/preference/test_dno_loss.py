"""DNO's losses: soft labels, their limits, and soft policy iteration as the exact minimiser."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.preference import dno_loss, dno_prct_loss, dpo_loss


seeds = st.integers(0, 10**6)
etas = st.floats(0.01, 2)


def win_rates(seed, size=6):
    return torch.rand(2, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, etas)
@settings(max_examples=30, deadline=None)
def test_equal_win_rates_have_their_minimum_at_a_gap_of_zero(draw_logps, gradient_of, seed, eta):
    chosen, rejected = draw_logps(seed, 2)
    rates = win_rates(seed)[0]

    def loss(policy_chosen, policy_rejected):
        return dno_loss(policy_chosen, policy_rejected, chosen, rejected, rates, rates, eta)

    torch.testing.assert_close(loss(chosen, rejected), torch.full_like(chosen, math.log(2)))
    assert max(gradient.abs().max() for gradient in gradient_of(loss, chosen, rejected)) == 0
    assert (loss(chosen + 3, rejected) > math.log(2)).all()
    torch.testing.assert_close(loss(chosen + 3, rejected), loss(chosen, rejected + 3))


@given(seeds, etas, st.floats(0.1, 100))
@settings(max_examples=30, deadline=None)
def test_swapping_the_responses_with_their_win_rates_changes_nothing(draw_logps, seed, eta, scale):
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = draw_logps(seed, 4)
    first, second = win_rates(seed)
    torch.testing.assert_close(
        dno_loss(policy_chosen, policy_rejected, ref_chosen, ref_rejected, first, second, eta, scale),
        dno_loss(policy_rejected, policy_chosen, ref_rejected, ref_chosen, second, first, eta, scale),
    )


@given(seeds, etas)
@settings(max_examples=30, deadline=None)
def test_a_large_reward_scale_gives_the_hard_label_of_the_better_response(draw_logps, seed, eta):
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = logps = draw_logps(seed, 4)
    high, low = torch.full((6,), 0.8), torch.full((6,), 0.3)
    torch.testing.assert_close(
        dno_loss(*logps, high, low, eta, reward_scale=1e6), dno_prct_loss(*logps, eta), check_dtype=False
    )
    torch.testing.assert_close(
        dno_loss(*logps, low, high, eta, reward_scale=1e6),
        dpo_loss(policy_rejected, policy_chosen, ref_rejected, ref_chosen, eta),
        check_dtype=False,
    )


@given(seeds, etas)
@settings(max_examples=30, deadline=None)
def test_prct_is_dpo_with_beta_eta(draw_logps, gradient_of, seed, eta):
    logps = draw_logps(seed, 4)
    assert torch.equal(dno_prct_loss(*logps, eta), dpo_loss(*logps, beta=eta))
    chosen, rejected = logps[:2]

    def loss(policy_chosen, policy_rejected):
        return dno_prct_loss(policy_chosen, policy_rejected, chosen, rejected, eta)

    torch.testing.assert_close(loss(chosen, rejected), torch.full_like(chosen, math.log(2)))
    up, down = gradient_of(loss, chosen, rejected)
    torch.testing.assert_close(up, torch.full_like(up, -eta / 2))
    torch.testing.assert_close(down, -up)


@given(seeds, etas, st.floats(0.1, 20))
@settings(max_examples=30, deadline=None)
def test_gradient_vanishes_exactly_at_the_scaled_win_rate_gap(draw_logps, gradient_of, seed, eta, scale):
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = draw_logps(seed, 4)
    first, second = win_rates(seed)

    def loss(policy_chosen, policy_rejected):
        return dno_loss(policy_chosen, policy_rejected, ref_chosen, ref_rejected, first, second, eta, scale)

    gap = policy_chosen - ref_chosen - policy_rejected + ref_rejected
    label = torch.sigmoid(scale * (first - second))
    (up, down) = gradient_of(loss, policy_chosen, policy_rejected)
    torch.testing.assert_close(up, eta * (torch.sigmoid(eta * gap) - label), atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(down, -up, atol=1e-12, rtol=1e-9)
    at_minimum = policy_rejected - ref_rejected + ref_chosen + scale * (first - second) / eta
    assert gradient_of(loss, at_minimum, policy_rejected)[0].abs().max() < 1e-9


def exact_step(minimise, game, last, eta, scale=1.0):
    """Policy that minimises the DNO loss in expectation over all pairs of responses drawn from `last`."""
    rates, size = game @ last, len(last)
    first, second = (
        index.flatten() for index in torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    )

    def objective(logps):
        pair = [logps[first], logps[second], last.log()[first], last.log()[second], rates[first], rates[second]]
        return (last[first] * last[second] * dno_loss(*pair, eta, scale)).sum()

    return minimise(objective, last.log()).exp()


@pytest.mark.parametrize("scale, eta", [(1.0, 0.4), (5.0, 5.0 * 0.4), (5.0, 0.4)])
def test_exact_minimiser_is_soft_policy_iteration_on_the_scaled_win_rates(cyclic_game, minimise, scale, eta):
    last = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    rates = cyclic_game @ last
    minimiser = exact_step(minimise, cyclic_game, last, eta, scale)
    torch.testing.assert_close(minimiser, torch.softmax(last.log() + scale * rates / eta, 0), atol=1e-6, rtol=0)
    paper = torch.softmax(last.log() + rates / 0.4, 0)
    # The paper's rescaling needs eta = scale * eta_0; the scale alone moves the optimum.
    assert ((minimiser - paper).abs().max() < 1e-6) == (math.isclose(eta, scale * 0.4))


@pytest.mark.parametrize("eta", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_exact_step_beats_the_last_policy_by_at_least_eta_kl(minimise, seed, eta):
    generator = torch.Generator().manual_seed(seed)
    upper = torch.rand(5, 5, generator=generator, dtype=torch.float64).triu(1)
    game = upper + (1 - upper.T).tril(-1) + 0.5 * torch.eye(5)
    last = torch.randn(5, generator=generator, dtype=torch.float64).softmax(0)
    new = exact_step(minimise, game, last, eta)
    kl = (new * (new / last).log()).sum()
    assert kl > 1e-4 and new @ game @ last >= 0.5 + eta * kl - 1e-9


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"eta": 0.0}, "`eta` is 0.0"),
        ({"reward_scale": 0.0}, "`reward_scale` is 0.0"),
        ({"reward_scale": math.inf}, "`reward_scale` is inf"),
        ({"chosen_win_rates": [0.5, 1.5]}, "`chosen_win_rates` is 1.5"),
        ({"rejected_win_rates": [0.5, math.nan]}, "`rejected_win_rates` is nan"),
        ({"rejected_win_rates": [0.5]}, "`rejected_win_rates` has shape"),
        ({"ref_chosen_logps": [-1.0]}, "`ref_chosen_logps` has shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    arguments = dict.fromkeys(
        ("policy_chosen_logps", "policy_rejected_logps", "ref_chosen_logps", "ref_rejected_logps"), (-3.0, -4.0)
    )
    arguments |= {"chosen_win_rates": [0.7, 0.8], "rejected_win_rates": [0.1, 0.2]}
    with pytest.raises(ValueError, match=message):
        dno_loss(**arguments | changes)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_extreme_log_ratios_stay_finite(dtype):
    gap = torch.tensor([-1e4, 0.0, 1e4]).to(dtype).requires_grad_()
    loss = dno_loss(gap, [0.0] * 3, [0.0] * 3, [0.0] * 3, [1.0, 0.5, 0.0], [0.0, 0.5, 1.0], eta=1.0)
    loss.sum().backward()
    assert loss.isfinite().all() and gap.grad.isfinite().all()


def test_only_the_policy_receives_a_gradient(draw_logps, gradient_of):
    gradients = gradient_of(dno_loss, *draw_logps(3, 4), *win_rates(3))
    assert [gradient is not None for gradient in gradients] == [True, True, False, False, False, False]
