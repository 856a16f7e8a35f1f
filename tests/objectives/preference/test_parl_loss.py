"""PARL/SAIL: DPO in its limits, and the exact gradient of its objective when all terms are on."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.preference import dpo_loss, parl_loss, parl_score_weights
from alignkit.objectives.sampling import check_parl_mixtures, parl_routes, parl_swap


seeds = st.integers(0, 10**6)
betas = st.floats(0.02, 1)
coefs = st.floats(0, 2)
few = settings(max_examples=25, deadline=None)
ROUTES = torch.tensor([0, 1, 2, 3, 2, 3])


@given(seeds, betas, coefs)
@few
def test_route_zero_and_zero_coefficients_are_dpo_in_value_and_gradient(draw_logps, gradient_of, seed, beta, coef):
    logps = draw_logps(seed, 4)

    def same(loss):
        torch.testing.assert_close(loss(*logps), dpo_loss(*logps, beta))
        grads, expected = gradient_of(loss, *logps), gradient_of(lambda *x: dpo_loss(*x, beta), *logps)
        for grad, plain in zip(grads[:2], expected[:2], strict=True):
            torch.testing.assert_close(grad, plain)
        assert grads[2:] == (None, None)

    same(lambda *x: parl_loss(*x, torch.zeros(6), beta, coef, coef, coef))
    same(lambda *x: parl_loss(*x, ROUTES, beta, 0.0, 0.0, 0.0))


@given(seeds, betas, coefs, coefs, coefs, st.sampled_from(["none", "batch"]))
@few
def test_autograd_gives_the_documented_gradient(draw_logps, gradient_of, seed, beta, ddp, dpp, dpr, baseline):
    logps = draw_logps(seed, 4)
    chosen, rejected, *_ = gradient_of(lambda *x: parl_loss(*x, ROUTES, beta, ddp, dpp, dpr, baseline), *logps)
    gap = (logps[0] - logps[2]) - (logps[1] - logps[3])
    explained = F.logsigmoid(beta * gap)
    label_coef = torch.tensor([0.0, ddp, dpp, 0.0], dtype=torch.float64)[ROUTES]
    pull = (1 + label_coef * explained) * torch.sigmoid(-beta * gap) * beta
    weights = parl_score_weights(*logps, ROUTES, beta, dpp, dpr, baseline)
    torch.testing.assert_close(chosen, -pull + weights)
    torch.testing.assert_close(rejected, pull + weights)


@given(seeds, betas, coefs, coefs)
@few
def test_the_score_weights_push_badly_explained_pairs_down(draw_logps, seed, beta, dpp, dpr):
    logps = draw_logps(seed, 4)
    weights = parl_score_weights(*(table.clone().requires_grad_() for table in logps), ROUTES, beta, dpp, dpr)
    assert (weights >= 0).all() and (weights[:2] == 0).all() and not weights.requires_grad
    score_coef = torch.tensor([0.0, 0.0, dpp, dpr], dtype=torch.float64)[ROUTES]
    torch.testing.assert_close(weights, score_coef * dpo_loss(*logps, beta))
    centred = parl_score_weights(*logps, ROUTES, beta, 1.0, 1.0, score_baseline="batch")
    assert centred.sum().item() == pytest.approx(0, abs=1e-9) and (centred[:2] == 0).all()


@given(seeds, coefs)
@few
def test_the_value_of_judged_samples_does_not_depend_on_the_score_term(draw_logps, gradient_of, seed, coef):
    logps, route = draw_logps(seed, 4), torch.full((6,), 3)
    torch.testing.assert_close(parl_loss(*logps, route, dpr_coef=coef), dpo_loss(*logps))
    (grad,) = gradient_of(lambda x: parl_loss(x, *logps[1:], route, dpr_coef=1.0 + coef), logps[0])
    (plain,) = gradient_of(lambda x: dpo_loss(x, *logps[1:]), logps[0])
    assert (grad > plain).all()


@pytest.mark.parametrize("route", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_with_coefficients_of_one_the_expected_gradient_is_that_of_the_objective(route, seed):
    generator = torch.Generator().manual_seed(seed)
    size, beta = 4, 0.7
    logits = torch.randn(size, generator=generator, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(size, generator=generator, dtype=torch.float64).log_softmax(0)
    offline = torch.randn(size, size, generator=generator, dtype=torch.float64).flatten().softmax(0)
    judge = torch.rand(size * size, generator=generator, dtype=torch.float64)
    first, second = (grid.flatten() for grid in torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"))
    logps = logits.log_softmax(0)

    def explained(winner, loser):
        return F.logsigmoid(beta * ((logps - reference)[winner] - (logps - reference)[loser]))

    # J: pairs and labels drawn as the route says, both of them functions of the policy where it draws them.
    pairs = offline if route == 1 else logps[first].exp() * logps[second].exp()
    prefers_first = judge if route == 3 else explained(first, second).exp()
    objective = pairs * (prefers_first * explained(first, second) + (1 - prefers_first) * explained(second, first))
    (exact,) = torch.autograd.grad(objective.sum(), logits, retain_graph=True)

    def surrogate(winner, loser):
        args = (logps[winner], logps[loser], reference[winner], reference[loser])
        return parl_loss(*args, torch.full_like(winner, route), beta, 1.0, 1.0, 1.0)

    pairs, prefers_first = pairs.detach(), prefers_first.detach()
    expected = pairs * (prefers_first * surrogate(first, second) + (1 - prefers_first) * surrogate(second, first))
    (grad,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(grad, -exact, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("gap", [-1e3, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_gaps_stay_finite(gradient_of, gap, dtype):
    chosen, rejected = torch.full((4,), gap / 2, dtype=dtype), torch.full((4,), -gap / 2, dtype=dtype)
    reference = torch.zeros(4, dtype=dtype)

    def loss(winner, loser):
        return parl_loss(winner, loser, reference, reference, range(4), beta=1.0)

    assert loss(chosen, rejected).isfinite().all()
    assert all(grad.isfinite().all() for grad in gradient_of(loss, chosen, rejected))


@given(seeds, betas)
@few
def test_a_pair_is_swapped_iff_the_draw_reaches_the_policys_preference(draw_logps, seed, beta):
    logps = draw_logps(seed, 4)
    draws = torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gap = (logps[0] - logps[2]) - (logps[1] - logps[3])
    assert torch.equal(parl_swap(*logps, draws, beta), draws >= torch.sigmoid(beta * gap))


def test_an_undecided_pair_is_swapped_half_of_the_time_and_a_certain_one_never():
    draws = (torch.arange(1000) + 0.5) / 1000
    zeros = torch.zeros(1000)
    assert parl_swap(zeros, zeros, zeros, zeros, draws).sum() == 500
    # The largest float32 below 1 is what torch.rand can draw at most.
    draws[-1] = 1 - 2**-24
    assert not parl_swap(zeros + 1e4, zeros, zeros, zeros, draws).any()
    assert parl_swap(zeros - 1e4, zeros, zeros, zeros, draws).all()


def test_routes_have_their_shares_and_the_rest_is_dpo():
    draws = (torch.arange(1000) + 0.5) / 1000
    for shares in ((0.4, 0.3, 0.2), (0.0, 0.0, 1.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.0)):
        counts = torch.bincount(parl_routes(draws, *shares), minlength=4)
        expected = [1000 * (1 - sum(shares)), *(1000 * share for share in shares)]
        assert counts.tolist() == pytest.approx(expected, abs=1e-6)
    assert parl_routes([0.0], 0.0, 0.0, 0.5).tolist() == [3] and parl_routes([0.0], 0.0, 0.0, 0.0).tolist() == [0]


def test_shares_outside_their_range_are_refused_and_rounding_is_not():
    check_parl_mixtures(0.7, 0.2, 0.1 + 1e-12)
    with pytest.raises(ValueError, match=r"`ddp_mixture` \+ `dpp_mixture` \+ `dpr_mixture` is 1\.2"):
        check_parl_mixtures(0.4, 0.4, 0.4)
    for shares in ((-0.1, 0.0, 0.0), (0.0, 1.1, 0.0), (0.0, 0.0, math.nan)):
        with pytest.raises(ValueError, match="_mixture` is"):
            check_parl_mixtures(*shares)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"beta": 0.0}, "`beta` is 0.0"),
        ({"ddp_coef": -0.1}, "`ddp_coef` is -0.1"),
        ({"dpp_coef": math.nan}, "`dpp_coef` is nan"),
        ({"dpr_coef": -0.1}, "`dpr_coef` is -0.1"),
        ({"score_baseline": "group"}, "`score_baseline` is 'group'"),
        ({"route": [0, 4]}, "`route` is 4 at index 1"),
        ({"route": [-1, 0]}, "`route` is -1 at index 0"),
        ({"route": [0]}, "`route` has shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        parl_loss(*[[-1.0, -2.0]] * 4, **{"route": [0, 1]} | changes)


def test_bad_draws_are_refused_by_name():
    for uniform, message in (([1.5, 0.0], "`uniform` is 1.5"), ([0.5], "`uniform` has shape")):
        with pytest.raises(ValueError, match=message):
            parl_swap(*[[-1.0, -2.0]] * 4, uniform)
    with pytest.raises(ValueError, match="`beta` is 0.0"):
        parl_swap(*[[-1.0, -2.0]] * 4, [0.5, 0.5], beta=0.0)
