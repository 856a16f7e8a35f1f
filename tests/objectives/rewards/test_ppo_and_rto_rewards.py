"""Token rewards of PPO and RTO: what the rows sum to, where the score stands, and RTO's optimum."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.rewards import kl_shaped_rewards, rto_implicit_reward, rto_token_rewards
from alignkit.objectives.values import gae


seeds = st.integers(0, 10**6)
weights = st.floats(0, 2)
few = settings(max_examples=25, deadline=None)
estimators = st.sampled_from(["k1", "k2", "k3"])


def row_sums(table, mask):
    return torch.where(mask, table, 0.0).sum(dim=1)


def last_places(mask):
    """Column of the last valid token of each row, None for an empty row."""
    return [keep.nonzero()[-1].item() if keep.any() else None for keep in mask]


@given(seeds, weights)
@few
def test_a_row_sums_to_the_score_minus_the_penalised_log_ratio(draw_tokens, seed, kl_coef):
    mask, logps, ref_logps, others = draw_tokens(seed, 3)
    scores = others[:, 0]
    rewards = kl_shaped_rewards(scores, logps, ref_logps, mask, kl_coef)
    expected = torch.where(mask.any(1), scores, 0.0) - kl_coef * row_sums(logps - ref_logps, mask)
    torch.testing.assert_close(rewards.sum(dim=1), expected)


@given(seeds, estimators, weights)
@few
def test_only_the_last_valid_token_holds_the_clipped_score(draw_tokens, seed, kl_estimator, kl_coef):
    mask, logps, ref_logps, others = draw_tokens(seed, 3)
    scores = 3 * others[:, 0]
    args = (logps, ref_logps, mask, kl_coef, kl_estimator)
    difference = kl_shaped_rewards(scores, *args, score_clip=1.0) - kl_shaped_rewards(0 * scores, *args)
    expected = torch.zeros_like(logps)
    for row, place in enumerate(last_places(mask)):
        if place is not None:
            expected[row, place] = scores[row].clamp(-1, 1)
    torch.testing.assert_close(difference, expected)


@pytest.mark.parametrize("estimator, penalty", [("k1", 0.7), ("k2", 0.245), ("k3", math.exp(-0.7) - 1 + 0.7)])
def test_the_three_estimators_penalise_the_sampling_policy(estimator, penalty):
    rewards = kl_shaped_rewards([5.0], [[-0.3, -1.0]], [[-1.0, -1.0]], [[1, 1]], 0.1, estimator)
    assert rewards.tolist() == [pytest.approx([-0.1 * penalty, 5.0])]


def test_without_penalty_no_reference_is_needed():
    rewards = kl_shaped_rewards([2.0], [[-1.0, -1.0]], None, [[1, 1]], kl_coef=0.0)
    assert rewards.tolist() == [[0.0, 2.0]]
    with pytest.raises(ValueError, match=r"`ref_logps` is None while `kl_coef` is 0\.1"):
        kl_shaped_rewards([2.0], [[-1.0, -1.0]], None, [[1, 1]], kl_coef=0.1)


BUILDERS = {
    "ppo": lambda scores, logps, ref, dpo, mask: kl_shaped_rewards(scores, logps, ref, mask),
    "rto": rto_token_rewards,
    "rto_without_score": lambda *args: rto_token_rewards(*args, beta3=0.0),
    "rto_unclipped": lambda *args: rto_token_rewards(*args, dpo_clip=None, score_clip=None),
}
each_builder = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)


@each_builder
def test_masked_places_and_empty_rows_are_zero_whatever_stands_there(draw_tokens, build):
    mask, *tables = draw_tokens(1, 4)
    scores = tables.pop()[:, 0]
    clean = build(scores, *tables, mask)
    assert (clean[~mask] == 0).all() and (clean[-1] == 0).all() and (clean[mask] != 0).all()
    for rubbish in (math.nan, math.inf, -math.inf):
        assert torch.equal(build(scores, *(torch.where(mask, table, rubbish) for table in tables), mask), clean)


@each_builder
def test_a_missing_score_marks_its_row_at_the_last_valid_token_and_gae_masks_the_row(draw_tokens, build):
    mask, *tables = draw_tokens(2, 4)
    scores = tables.pop()[:, 0]
    clean = build(scores, *tables, mask)
    scores[[0, 4]] = math.nan
    rewards = build(scores, *tables, mask)
    expected = clean.clone()
    expected[0, last_places(mask)[0]] = math.nan
    torch.testing.assert_close(rewards, expected, equal_nan=True)
    advantages = gae(rewards, tables[0], mask).advantages
    assert (advantages[0] == 0).all()
    assert torch.equal(advantages[1:], gae(clean, tables[0], mask).advantages[1:])


@each_builder
def test_no_gradient_reaches_any_argument(draw_tokens, build):
    mask, *tables = draw_tokens(3, 4)
    scores, *logps = [table.requires_grad_() for table in (tables.pop()[:, 0], *tables)]
    assert not build(scores, *logps, mask).requires_grad
    assert not rto_implicit_reward(logps[0], logps[1], mask).requires_grad


@given(seeds, weights)
@few
def test_without_dpo_weight_or_dpo_difference_rto_is_the_kl_shaped_reward(draw_tokens, seed, beta2):
    mask, logps, ref_logps, dpo_logps, others = draw_tokens(seed, 4)
    scores = 20 * others[:, 0]
    plain = kl_shaped_rewards(scores, logps, ref_logps, mask, kl_coef=beta2, score_clip=10.0)
    torch.testing.assert_close(rto_token_rewards(scores, logps, ref_logps, dpo_logps, mask, 0.0, beta2), plain)
    torch.testing.assert_close(rto_token_rewards(scores, logps, ref_logps, ref_logps, mask, 0.7, beta2), plain)


@given(seeds, weights, weights, weights)
@few
def test_without_clips_an_rto_row_sums_to_its_three_parts(draw_tokens, seed, beta1, beta2, beta3):
    mask, logps, ref_logps, dpo_logps, dpo_ref_logps, others = draw_tokens(seed, 5)
    scores = others[:, 0]
    rewards = rto_token_rewards(
        scores, logps, ref_logps, dpo_logps, mask, beta1, beta2, beta3, None, None, dpo_ref_logps
    )
    implicit = rto_implicit_reward(dpo_logps, dpo_ref_logps, mask, beta1)
    torch.testing.assert_close(implicit, beta1 * row_sums(dpo_logps - dpo_ref_logps, mask))
    penalty = beta2 * row_sums(logps - ref_logps, mask)
    torch.testing.assert_close(rewards.sum(1), implicit - penalty + beta3 * torch.where(mask.any(1), scores, 0.0))


@given(seeds, weights, st.floats(0.01, 1))
@few
def test_the_dense_part_is_scaled_and_then_clipped(draw_tokens, seed, beta1, dpo_clip):
    mask, logps, ref_logps, dpo_logps = draw_tokens(seed, 3)
    zeros = torch.zeros(len(mask))
    args = (zeros, logps, ref_logps, dpo_logps, mask)
    dense = rto_token_rewards(*args, beta1, 0.0, dpo_clip=dpo_clip)
    assert (dense.abs() <= dpo_clip).all()
    scaled = (beta1 * (dpo_logps - ref_logps)).clamp(-dpo_clip, dpo_clip)
    torch.testing.assert_close(dense, torch.where(mask, scaled, 0.0))
    signs = rto_token_rewards(*args, 1e12, 0.0, dpo_clip=dpo_clip)
    torch.testing.assert_close(signs, torch.where(mask, dpo_clip * (dpo_logps - ref_logps).sign(), 0.0))


@pytest.mark.parametrize("beta1, beta2", [(0.3, 0.3), (0.1, 0.4), (0.5, 0.2)])
def test_the_regularised_optimum_is_the_geometric_mixture_of_reference_and_dpo_model(beta1, beta2):
    # All 8 sequences of three binary tokens; a policy is a logit for each of the 7 prefixes.
    sequences = torch.tensor(list(itertools.product([0, 1], repeat=3)))
    prefixes = torch.stack(
        [torch.zeros(8, dtype=torch.long), 1 + sequences[:, 0], 3 + sequences[:, :2] @ torch.tensor([2, 1])], 1
    )

    def policy(seed):
        logits = torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        signs = 2.0 * sequences - 1
        return torch.nn.functional.logsigmoid(signs * logits[prefixes])

    reference, dpo = policy(0), policy(1)
    share = beta1 / beta2
    mixture = (1 - share) * reference.sum(1) + share * dpo.sum(1)
    optimum = mixture.log_softmax(0)
    if beta1 == beta2:
        torch.testing.assert_close(optimum, dpo.sum(1))

    def objective(logps):
        rewards = rto_token_rewards(
            torch.zeros(8), logps, reference, dpo, torch.ones(8, 3), beta1, beta2, beta3=0.0, dpo_clip=None
        )
        return (logps.sum(1).exp() * rewards.sum(1)).sum()

    # Any policy falls short of the best value by beta2 times its KL divergence from the mixture.
    for seed in range(2, 12):
        logps = policy(seed)
        divergence = (logps.sum(1).exp() * (logps.sum(1) - optimum)).sum()
        torch.testing.assert_close(objective(logps), beta2 * (mixture.logsumexp(0) - divergence))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kl_coef": -0.1}, "`kl_coef` is -0.1"),
        ({"kl_estimator": "k4"}, "`kl_estimator` is 'k4'"),
        ({"score_clip": 0.0}, "`score_clip` is 0.0"),
        ({"scores": [1.0, 2.0]}, "`scores` has shape"),
        ({"ref_logps": [[0.0]]}, "`ref_logps` has shape"),
        ({"mask": [[1]]}, "`mask` has shape"),
        ({"logps": [0.0]}, "`logps` has shape"),
    ],
)
def test_bad_arguments_of_the_kl_shaped_reward_are_refused_by_name(changes, message):
    arguments = {"scores": [1.0], "logps": [[0.0, 0.0]], "ref_logps": [[0.0, 0.0]], "mask": [[1, 1]]}
    with pytest.raises(ValueError, match=message):
        kl_shaped_rewards(**arguments | changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"beta1": -0.1}, "`beta1` is -0.1"),
        ({"beta2": -0.1}, "`beta2` is -0.1"),
        ({"beta3": math.nan}, "`beta3` is nan"),
        ({"dpo_clip": 0.0}, "`dpo_clip` is 0.0"),
        ({"score_clip": -1.0}, "`score_clip` is -1.0"),
        ({"dpo_logps": [[0.0]]}, "has shape"),
        ({"dpo_ref_logps": [[0.0]]}, "`dpo_ref_logps` has shape"),
        ({"scores": [1.0, 2.0]}, "`scores` has shape"),
    ],
)
def test_bad_arguments_of_rto_are_refused_by_name(changes, message):
    names = ("logps", "ref_logps", "dpo_logps", "mask")
    arguments = {"scores": [1.0]} | {key: [[1.0, 1.0]] for key in names}
    with pytest.raises(ValueError, match=message):
        rto_token_rewards(**arguments | changes)
