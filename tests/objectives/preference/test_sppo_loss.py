"""SPPO's losses: what a tie, a win and a constant shift must do."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.preference import sppo_loss, sppo_response_loss
from alignkit.objectives.rewards import sppo_win_rates


seeds = st.integers(0, 10**6)
etas = st.floats(0.01, 2000)


@given(seeds, etas)
@settings(max_examples=30, deadline=None)
def test_a_tie_moves_nothing_at_the_start_of_an_iteration(draw_logps, gradient_of, seed, eta):
    chosen, rejected = draw_logps(seed, 2)
    half = torch.full_like(chosen, 0.5)

    def loss(policy_chosen, policy_rejected):
        return sppo_loss(policy_chosen, policy_rejected, chosen, rejected, half, half, eta)

    assert loss(chosen, rejected).abs().max() == 0
    assert all(gradient.abs().max() == 0 for gradient in gradient_of(loss, chosen, rejected))


@given(seeds, etas)
@settings(max_examples=30, deadline=None)
def test_gradient_at_the_start_raises_the_winner_and_lowers_the_loser(draw_logps, gradient_of, seed, eta):
    chosen, rejected = draw_logps(seed, 2)
    rates = torch.rand(2, len(chosen), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 2
    win, lose = 0.5 + rates[0], 0.5 - rates[1]
    up, down = gradient_of(lambda *policy: sppo_loss(*policy, chosen, rejected, win, lose, eta), chosen, rejected)
    torch.testing.assert_close(up, -eta * (win - 0.5))
    torch.testing.assert_close(down, -eta * (lose - 0.5))
    assert (up <= 0).all() and (down >= 0).all()


@given(seeds, st.floats(1e-3, 10))
@settings(max_examples=30, deadline=None)
def test_twice_the_hard_label_loss_is_sppo_hard_of_trl(draw_logps, seed, beta):
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = draw_logps(seed, 4)
    sppo_hard = (policy_chosen - ref_chosen - 0.5 / beta) ** 2 + (policy_rejected - ref_rejected + 0.5 / beta) ** 2
    ones, zeros = torch.ones_like(ref_chosen), torch.zeros_like(ref_chosen)
    ours = sppo_loss(policy_chosen, policy_rejected, ref_chosen, ref_rejected, ones, zeros, eta=1 / beta)
    torch.testing.assert_close(2 * ours, sppo_hard)


def test_shifting_both_log_ratios_changes_the_loss(draw_logps):
    logps, rates = draw_logps(0, 4), (torch.full((6,), 0.9), torch.full((6,), 0.2))
    shifted = sppo_loss(logps[0] + 5, logps[1] + 5, *logps[2:], *rates)
    assert (shifted - sppo_loss(*logps, *rates)).abs().min() > 1


def test_pair_loss_is_the_mean_of_the_response_losses(draw_logps):
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = draw_logps(1, 4)
    rates = torch.linspace(0, 1, 6, dtype=torch.float64)
    pair = sppo_loss(policy_chosen, policy_rejected, ref_chosen, ref_rejected, rates, 1 - rates, eta=30)
    chosen = sppo_response_loss(policy_chosen, ref_chosen, rates, eta=30)
    rejected = sppo_response_loss(policy_rejected, ref_rejected, 1 - rates, eta=30)
    torch.testing.assert_close(pair, (chosen + rejected) / 2)


def test_exact_minimiser_with_the_true_normaliser_is_the_multiplicative_weights_update(cyclic_game, minimise):
    eta, last = 0.7, torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    rates = cyclic_game @ last
    normaliser = (last * torch.exp(eta * rates)).sum().log()
    multiplicative_weights = last.log() + eta * rates - normaliser
    # The target of the loss is eta (rate - 1/2); this rate makes it eta P - log Z.
    exact_rates = rates - normaliser / eta + 0.5

    def objective(logps):
        return (last * sppo_response_loss(logps, last.log(), exact_rates, eta)).sum()

    assert objective(multiplicative_weights) < 1e-25
    trained = minimise(objective, last.log())
    torch.testing.assert_close(trained, multiplicative_weights, atol=1e-6, rtol=0)


def test_average_of_exact_updates_approaches_the_nash_policy_of_a_cyclic_game(cyclic_game):
    eta, gaps = 0.3, []
    policy, average = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for step in range(400):
        average = (step * average + policy) / (step + 1)
        gaps.append(float((cyclic_game @ average).max() - 0.5))
        rates = cyclic_game @ policy
        updated = policy.log() + eta * (rates - 0.5)
        assert sppo_response_loss(updated, policy.log(), rates, eta).max() < 1e-20
        policy = updated.softmax(0)
    assert gaps[0] > 0.1 and gaps[99] < gaps[0] / 2 and gaps[399] < gaps[99] / 1.5


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"eta": 0.0}, "`eta` is 0.0"),
        ({"eta": -1.0}, "`eta` is -1.0"),
        ({"eta": math.inf}, "`eta` is inf"),
        ({"eta": math.nan}, "`eta` is nan"),
        ({"chosen_win_rates": [0.5, 1.01]}, r"`chosen_win_rates` is 1.01 at index \[1\]; valid range: \[0, 1\]"),
        ({"rejected_win_rates": [-0.01, 0.5]}, r"`rejected_win_rates` is -0.01 at index \[0\]"),
        ({"rejected_win_rates": [math.nan, 0.5]}, "`rejected_win_rates` is nan"),
        ({"ref_rejected_logps": [-1.0]}, "`ref_rejected_logps` has shape"),
        ({"chosen_win_rates": [[0.5, 0.5]]}, "`chosen_win_rates` has shape"),
        (
            {"policy_chosen_logps": [-1.0], "ref_chosen_logps": [-1.0], "chosen_win_rates": [0.5]},
            "`policy_rejected_logps` has shape",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    arguments = dict.fromkeys(
        ("policy_chosen_logps", "policy_rejected_logps", "ref_chosen_logps", "ref_rejected_logps"), (-3.0, -4.0)
    )
    arguments |= {"chosen_win_rates": [0.7, 0.8], "rejected_win_rates": [0.1, 0.2]}
    with pytest.raises(ValueError, match=message):
        sppo_loss(**arguments | changes)


def test_response_loss_names_its_own_arguments():
    with pytest.raises(ValueError, match="`ref_logps` has shape"):
        sppo_response_loss([-1.0, -2.0], [-1.0], [0.5, 0.5])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_sums_do_not_overflow_and_keep_the_target(draw_logps, dtype):
    logps = [tensor.to(dtype) for tensor in draw_logps(2, 4)]
    ones, zeros = torch.ones(6), torch.zeros(6)
    loss = sppo_loss(*logps, ones, zeros)
    assert loss.dtype == torch.float32 and loss.isfinite().all()
    exact = sppo_loss(*[tensor.double() for tensor in logps], ones, zeros)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)


def test_only_the_policy_receives_a_gradient(draw_logps, gradient_of):
    rates = sppo_win_rates(torch.rand(6, 2, 2, dtype=torch.float64))
    gradients = gradient_of(sppo_loss, *draw_logps(3, 4), rates[:, 0], rates[:, 1])
    assert [gradient is not None for gradient in gradients] == [True, True, False, False, False, False]
