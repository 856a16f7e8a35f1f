"""MODPO: its limits, the sign of the margin, and the closed form of its optimum."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.preference import dpo_loss, modpo_loss


seeds = st.integers(0, 10**6)


def rewards(seed, objectives, size=6):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(2, size, objectives, generator=generator, dtype=torch.float64)


@given(seeds, st.integers(0, 3), st.floats(0.05, 2))
@settings(max_examples=30, deadline=None)
def test_all_weight_on_the_pairs_is_dpo_for_any_margins(draw_logps, seed, others, beta):
    logps = draw_logps(seed, 4)
    loss = modpo_loss(*logps, *rewards(seed, others), weights=[1.0] + [0.0] * others, beta=beta)
    torch.testing.assert_close(loss, dpo_loss(*logps, beta=beta))


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_constant_on_the_rewards_of_both_responses_changes_nothing(draw_logps, seed):
    logps, (chosen, rejected) = draw_logps(seed, 4), rewards(seed, 2)
    constant = rewards(seed + 1, 2)[0]
    weights = [0.5, 0.3, 0.2]
    torch.testing.assert_close(
        modpo_loss(*logps, chosen + constant, rejected + constant, weights),
        modpo_loss(*logps, chosen, rejected, weights),
    )


@given(seeds, st.floats(0.1, 10), st.sampled_from(["sigmoid", "hinge"]))
@settings(max_examples=30, deadline=None)
def test_scaling_weights_and_beta_together_changes_nothing(draw_logps, seed, factor, loss_type):
    logps, margins, weights = draw_logps(seed, 4), rewards(seed, 2), [0.5, 0.3, 0.2]
    torch.testing.assert_close(
        modpo_loss(*logps, *margins, [factor * weight for weight in weights], 0.1 * factor, loss_type),
        modpo_loss(*logps, *margins, weights, 0.1, loss_type),
    )


@pytest.mark.parametrize("margin, expected", [(1e6, -0.1 / 0.4), (-1e6, 0.0)])
def test_agreeing_margins_push_up_with_full_strength_and_opposing_ones_not_at_all(gradient_of, margin, expected):
    def loss(policy_chosen):
        return modpo_loss(policy_chosen, [-4.0], [-3.0], [-4.0], [[margin]], [[0.0]], weights=[0.4, 0.6], beta=0.1)

    assert gradient_of(loss, torch.tensor([-3.0], dtype=torch.float64))[0].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weights", [(0.2, 0.8), (0.5, 0.5), (0.8, 0.2)])
@pytest.mark.parametrize("trained", [0, 1])
def test_tabular_optimum_is_the_closed_form_whichever_objective_supplies_the_pairs(minimise, weights, trained):
    """Exact Bradley-Terry pairs of one objective, both orders weighted: pi_ref exp(w.r / beta) is the optimum."""
    beta, generator = 0.5, torch.Generator().manual_seed(3)
    reference = torch.randn(8, generator=generator, dtype=torch.float64).log_softmax(0)
    objective_rewards = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    own, other = objective_rewards[trained], objective_rewards[1 - trained]
    order = [weights[trained], weights[1 - trained]]
    first, second = torch.triu_indices(8, 8, offset=1)
    chosen, rejected = torch.cat([first, second]), torch.cat([second, first])
    probabilities = torch.sigmoid(own[chosen] - own[rejected])

    def objective(logps):
        loss = modpo_loss(
            logps[chosen],
            logps[rejected],
            reference[chosen],
            reference[rejected],
            other[chosen, None],
            other[rejected, None],
            order,
            beta,
        )
        return (probabilities * loss).sum()

    policy = minimise(objective, reference).exp()
    closed_form = torch.softmax(reference + torch.tensor(weights, dtype=torch.float64) @ objective_rewards / beta, 0)
    assert 0.5 * (policy - closed_form).abs().sum() < 1e-6


def test_margins_and_references_receive_no_gradient(draw_logps, gradient_of):
    gradients = gradient_of(
        lambda *inputs: modpo_loss(*inputs, weights=[0.5, 0.3, 0.2]), *draw_logps(0, 4), *rewards(0, 2)
    )
    assert [gradient is not None for gradient in gradients] == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"weights": [0.0, 1.0]}, r"`weights\[0\]` is 0.0"),
        ({"weights": [-0.5, 1.0]}, r"`weights\[0\]` is -0.5"),
        ({"weights": [0.5, -0.1]}, r"`weights\[1\]` is -0.1"),
        ({"weights": [0.5, math.nan]}, r"`weights\[1\]` is nan"),
        ({"weights": [math.inf, 0.5]}, r"`weights\[0\]` is inf"),
        ({"weights": []}, "`weights` is empty"),
        ({"weights": [0.5, 0.3, 0.2]}, "`chosen_margin_rewards` has shape"),
        ({"rejected_margin_rewards": [1.0, 2.0]}, "`rejected_margin_rewards` has shape"),
        ({"beta": 0.0}, "`beta` is 0.0"),
        ({"loss_type": "ipo"}, "`loss_type` is 'ipo'"),
        (
            {"chosen_margin_rewards": [[1.0]], "rejected_margin_rewards": [[1.0]]},
            r"margin rewards hold \[1\] pairs; expected \[2\]",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    names = ("policy_chosen_logps", "policy_rejected_logps", "ref_chosen_logps", "ref_rejected_logps")
    arguments = dict.fromkeys(names, (-3.0, -4.0)) | dict.fromkeys(
        ("chosen_margin_rewards", "rejected_margin_rewards"), ((1.0,), (2.0,))
    )
    with pytest.raises(ValueError, match=message):
        modpo_loss(**arguments | {"weights": [0.5, 0.5]} | changes)
