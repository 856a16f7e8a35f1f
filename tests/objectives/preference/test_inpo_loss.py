"""INPO's loss: its limits, its invariances, and the game that it solves in the last iterate."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.preference import inpo_loss


seeds = st.integers(0, 10**6)
etas = st.floats(0.002, 2)
shares = st.floats(0, 1)


@given(seeds, etas, shares)
@settings(max_examples=30, deadline=None)
def test_minimum_is_zero_at_half_over_eta_and_nowhere_else(draw_logps, seed, eta, share):
    _, policy_rejected, ref_chosen, ref_rejected, last_chosen, last_rejected = draw_logps(seed, 6)
    tau = share * eta
    anchor = tau / eta * (ref_chosen - ref_rejected) + (1 - tau / eta) * (last_chosen - last_rejected)
    policy_chosen = policy_rejected + anchor + 1 / (2 * eta)
    references = (ref_chosen, ref_rejected, last_chosen, last_rejected)
    assert inpo_loss(policy_chosen, policy_rejected, *references, eta, tau).max() < 1e-18
    for offset in (-2.0, 0.5):
        off = inpo_loss(policy_chosen + offset, policy_rejected, *references, eta, tau)
        torch.testing.assert_close(off, torch.full_like(off, offset**2))


@given(seeds, st.integers(0, 2), st.floats(-100, 100))
@settings(max_examples=30, deadline=None)
def test_a_constant_on_both_log_probabilities_of_a_model_changes_nothing(draw_logps, seed, model, constant):
    logps = draw_logps(seed, 6)
    shifted = [tensor + constant * (index // 2 == model) for index, tensor in enumerate(logps)]
    torch.testing.assert_close(inpo_loss(*shifted), inpo_loss(*logps))


@given(seeds, etas, shares)
@settings(max_examples=30, deadline=None)
def test_first_iteration_is_unnormalised_ipo_whatever_tau(draw_logps, seed, eta, share):
    policy_chosen, policy_rejected, chosen, rejected = draw_logps(seed, 4)
    ipo = (policy_chosen - chosen - policy_rejected + rejected - 1 / (2 * eta)) ** 2
    loss = inpo_loss(policy_chosen, policy_rejected, chosen, rejected, chosen, rejected, eta, share * eta)
    torch.testing.assert_close(loss, ipo, atol=1e-8, rtol=1e-9)


@given(seeds, etas)
@settings(max_examples=30, deadline=None)
def test_tau_equal_to_eta_ignores_last_and_tau_zero_ignores_ref(draw_logps, seed, eta):
    first, other = draw_logps(seed, 6), draw_logps(seed + 1, 6)
    new_last, new_ref = [*first[:4], *other[4:]], [*first[:2], *other[2:4], *first[4:]]
    torch.testing.assert_close(inpo_loss(*new_last, eta, eta), inpo_loss(*first, eta, eta), rtol=0, atol=0)
    torch.testing.assert_close(inpo_loss(*new_ref, eta, 0.0), inpo_loss(*first, eta, 0.0), rtol=0, atol=0)


def test_tau_defaults_to_a_third_of_eta(draw_logps):
    logps = draw_logps(0, 6)
    assert torch.equal(inpo_loss(*logps, eta=0.3), inpo_loss(*logps, eta=0.3, tau=0.3 / 3))


def test_at_the_reference_the_loss_pushes_both_ways_with_equal_strength(draw_logps, gradient_of):
    chosen, rejected = draw_logps(1, 2)

    def loss(policy_chosen, policy_rejected):
        return inpo_loss(policy_chosen, policy_rejected, chosen, rejected, chosen, rejected, eta=0.005)

    torch.testing.assert_close(loss(chosen, rejected), torch.full_like(chosen, 1 / (4 * 0.005**2)))
    up, down = gradient_of(loss, chosen, rejected)
    torch.testing.assert_close(up, torch.full_like(up, -1 / 0.005))
    torch.testing.assert_close(down, -up)


FIRST, SECOND = (index.flatten() for index in torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij"))


def all_pairs(logits, ref, last, eta, tau):
    """Loss [3, 3] of every ordered pair of responses of a tabular policy."""
    models = (logits.log_softmax(0), ref.log(), last.log())
    return inpo_loss(*[logps[index] for logps in models for index in (FIRST, SECOND)], eta, tau).reshape(3, 3)


def expected_gradient(loss_of_pairs, logits, last, labels):
    """Gradient in the logits of the loss in expectation over y, y' ~ last (independent) and the labels."""
    logits = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((last[:, None] * last[None, :] * labels * loss_of_pairs(logits)).sum(), logits)
    return gradient


@given(seeds, shares)
@settings(max_examples=20, deadline=None)
def test_labelled_pairs_have_the_gradient_of_the_win_rate_regression(cyclic_game, seed, share):
    """Proposition 6: the oracle's binary labels are as good as the unknown win rates."""
    generator = torch.Generator().manual_seed(seed)
    logits, ref, last = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    ref, last, eta = ref.softmax(0), last.softmax(0), 0.8

    def labelled(logits):
        return all_pairs(logits, ref, last, eta, share * eta)

    def regression(logits):
        policy, rates = logits.log_softmax(0), cyclic_game @ last
        anchored = policy - share * ref.log() - (1 - share) * last.log() - rates / eta
        return (anchored[:, None] - anchored[None, :]) ** 2 / 2

    # An (ordered) pair is labelled y_w = y with probability P(y beats y'), and the other way round otherwise.
    ours = expected_gradient(labelled, logits, last, 2 * cyclic_game)
    theirs = 2 * expected_gradient(regression, logits, last, torch.ones(3, 3, dtype=torch.float64))
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)

    closed_form = cyclic_game @ last / eta + share * ref.log() + (1 - share) * last.log()
    assert expected_gradient(labelled, closed_form, last, cyclic_game).abs().max() < 1e-12


def regularised_gap(game, policy, ref, tau):
    """What either player could still gain: max_p J(p, policy) - min_p J(policy, p) with the KL terms, both exact."""
    best = torch.logsumexp(ref.log() + (game @ policy) / tau, 0) * tau
    return 2 * float(best + tau * (policy * (policy / ref).log()).sum() - policy @ game @ policy)


def test_last_iterate_of_exact_updates_converges_on_a_cyclic_game_only_with_the_kl_term(cyclic_game):
    eta, tau = 1.0, 1 / 3
    ref = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    gaps = {}
    for share in (tau / eta, 0.0):
        policy, gaps[share] = ref, []
        for _ in range(60):
            logits = cyclic_game @ policy / eta + share * ref.log() + (1 - share) * policy.log()
            stationary = expected_gradient(
                lambda new, last=policy, tau=share * eta: all_pairs(new, ref, last, eta, tau),
                logits,
                policy,
                cyclic_game,
            )
            assert stationary.abs().max() < 1e-10
            policy = logits.softmax(0)
            gaps[share].append(regularised_gap(cyclic_game, policy, ref, tau))
    assert gaps[tau / eta][-1] < 1e-9
    assert min(gaps[0.0][20:]) > 1e-3


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"eta": 0.0}, "`eta` is 0.0"),
        ({"eta": -0.1}, "`eta` is -0.1"),
        ({"eta": math.inf}, "`eta` is inf"),
        ({"tau": 0.006}, r"`tau` is 0.006; valid range: \[0.0, 0.005\]"),
        ({"tau": -1e-6}, "`tau` is -1e-06"),
        ({"tau": math.nan}, "`tau` is nan"),
        ({"last_rejected_logps": [-1.0]}, "`last_rejected_logps` has shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    names = [f"{model}_{side}_logps" for model in ("policy", "ref", "last") for side in ("chosen", "rejected")]
    with pytest.raises(ValueError, match=message):
        inpo_loss(**dict.fromkeys(names, (-3.0, -4.0)) | changes)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_is_computed_in_float32(draw_logps, dtype):
    logps = [tensor.to(dtype) for tensor in draw_logps(2, 6)]
    loss = inpo_loss(*logps, eta=0.001)
    assert loss.dtype == torch.float32 and loss.isfinite().all()
    exact = inpo_loss(*[tensor.double() for tensor in logps], eta=0.001)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)


def test_only_the_policy_receives_a_gradient(draw_logps, gradient_of):
    gradients = gradient_of(inpo_loss, *draw_logps(3, 6))
    assert [gradient is not None for gradient in gradients] == [True, True, False, False, False, False]
