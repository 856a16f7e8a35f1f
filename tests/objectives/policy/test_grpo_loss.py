"""GRPO's token loss, KL estimates and aggregation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_batches import few, gradient, seeds, token_batch

from alignkit.objectives.policy import aggregate, grpo_loss, kl_estimate


@given(seed=seeds)
@few
def test_on_policy_the_loss_is_minus_the_advantage_and_so_is_its_gradient(seed):
    batch = token_batch(seed)
    expected = torch.where(batch.mask, -batch.advantages[:, None], 0.0)

    def loss(logps):
        return grpo_loss(logps, batch.logps, batch.advantages, batch.mask)

    torch.testing.assert_close(loss(batch.logps), expected)
    torch.testing.assert_close(gradient(loss, batch.logps), expected)


@given(seed=seeds, epsilon_low=st.floats(0.0, 0.5), epsilon_high=st.floats(0.0, 0.5))
@few
def test_gradient_is_zero_exactly_where_the_clip_binds(seed, epsilon_low, epsilon_high):
    batch = token_batch(seed, full=True)
    ratio = (batch.logps - batch.old_logps).exp()
    positive = batch.advantages[:, None] > 0
    clipped = torch.where(positive, ratio > 1 + epsilon_high, ratio < 1 - epsilon_low)
    grad = gradient(
        lambda logps: grpo_loss(logps, batch.old_logps, batch.advantages, batch.mask, epsilon_low, epsilon_high),
        batch.logps,
    )
    torch.testing.assert_close(grad, torch.where(clipped, 0.0, -ratio * batch.advantages[:, None]))


@given(seed=seeds, delta=st.floats(1.21, 3.0))
@few
def test_delta_binds_only_for_negative_advantages_above_it(seed, delta):
    batch = token_batch(seed, spread=1.0)
    plain = grpo_loss(batch.logps, batch.old_logps, batch.advantages, batch.mask)
    two_sided = grpo_loss(batch.logps, batch.old_logps, batch.advantages, batch.mask, delta=delta)
    ratio = (batch.logps - batch.old_logps).exp()
    binds = batch.mask & (batch.advantages < 0)[:, None] & (ratio > delta)
    assert torch.equal(plain[~binds], two_sided[~binds])
    torch.testing.assert_close(two_sided[binds], (-delta * batch.advantages)[:, None].expand_as(plain)[binds])


@given(seed=seeds)
@few
def test_sequence_level_with_one_token_per_row_is_token_level(seed):
    batch = token_batch(seed, tokens=1)
    args = (batch.logps, batch.old_logps, batch.advantages, batch.mask)
    torch.testing.assert_close(grpo_loss(*args, importance_sampling_level="sequence"), grpo_loss(*args))


@given(seed=seeds)
@few
def test_sequence_level_shares_the_geometric_mean_ratio_and_its_gradient(seed):
    batch = token_batch(seed, spread=0.05, full=True)
    ratio = (batch.logps - batch.old_logps).mean(dim=1, keepdim=True).exp()

    def loss(logps):
        return grpo_loss(logps, batch.old_logps, batch.advantages, batch.mask, 9.0, 9.0, None, "sequence")

    expected = (-ratio * batch.advantages[:, None]).expand_as(batch.logps)
    torch.testing.assert_close(loss(batch.logps), expected)
    # T tokens share the loss, each log-probability enters with weight 1/T.
    torch.testing.assert_close(gradient(loss, batch.logps), expected)


@given(seed=seeds)
@few
def test_bias_correction_leaves_the_value_on_policy_and_changes_the_gradient_to_the_reverse_kl(seed):
    batch = token_batch(seed, full=True)
    zero = torch.zeros_like(batch.advantages)

    def kl(logps, corrected):
        return grpo_loss(
            logps,
            batch.logps,
            zero,
            batch.mask,
            ref_logps=batch.ref_logps,
            beta=0.5,
            use_bias_correction_kl=corrected,
        )

    torch.testing.assert_close(kl(batch.logps, True), kl(batch.logps, False))
    gap = batch.ref_logps - batch.logps
    torch.testing.assert_close(gradient(lambda x: kl(x, False), batch.logps), 0.5 * (1 - gap.exp()))
    torch.testing.assert_close(gradient(lambda x: kl(x, True), batch.logps), -0.5 * gap)


def test_the_kl_correction_uses_the_uncapped_ratio():
    logps, old, ref = torch.tensor([[0.0]]), torch.tensor([[-2.0]]), torch.tensor([[-0.5]])
    loss = grpo_loss(logps, old, [0.0], [[1]], delta=1.3, ref_logps=ref, beta=1.0)
    assert loss.item() == pytest.approx((math.exp(-0.5) + 0.5 - 1) * math.exp(2.0))


def test_beta_needs_reference_log_probabilities_and_bad_values_are_named():
    batch = token_batch(0)
    args = (batch.logps, batch.old_logps, batch.advantages, batch.mask)
    with pytest.raises(ValueError, match="ref_logps"):
        grpo_loss(*args, beta=0.1)
    for name, value in (
        ("epsilon_low", -0.1),
        ("epsilon_high", math.nan),
        ("delta", 0.0),
        ("importance_sampling_level", "word"),
        ("beta", -0.1),
    ):
        with pytest.raises(ValueError, match=name):
            grpo_loss(*args, **{name: value}, ref_logps=batch.ref_logps)


@given(seed=seeds)
@few
def test_k3_is_non_negative_and_zero_only_at_equality(seed):
    batch = token_batch(seed, spread=2.0)
    k3 = kl_estimate(batch.logps, batch.ref_logps)
    assert (k3 > 0).all()
    assert (kl_estimate(batch.logps, batch.logps) == 0).all()
    tiny = batch.logps.float() + 1e-4 * batch.ref_logps.float()
    assert (kl_estimate(batch.logps.float(), tiny) >= 0).all()


def test_k1_and_k3_are_unbiased_and_k2_has_the_reverse_kl_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, generator=generator, dtype=torch.float64)
    reference = torch.randn(7, generator=generator, dtype=torch.float64).log_softmax(0)
    policy = logits.log_softmax(0)
    kl = (policy.exp() * (policy - reference)).sum()
    for estimator in ("k1", "k3"):
        torch.testing.assert_close((policy.exp() * kl_estimate(policy, reference, estimator)).sum(), kl)
    probabilities = policy.exp()
    of_kl = gradient(lambda x: (x.log_softmax(0).exp() * (x.log_softmax(0) - reference)).sum()[None], logits)
    of_k2 = gradient(lambda x: probabilities * kl_estimate(x.log_softmax(0), reference, "k2"), logits)
    torch.testing.assert_close(of_k2, of_kl)


def test_unknown_estimators_are_refused():
    with pytest.raises(ValueError, match="estimator"):
        kl_estimate([[0.0]], [[0.0]], "k4")


@given(seed=seeds)
@few
def test_bnpo_equals_grpo_for_rows_of_equal_length_and_for_one_row(seed):
    batch = token_batch(seed)
    full = torch.ones_like(batch.mask)
    torch.testing.assert_close(aggregate(batch.logps, full, "bnpo"), aggregate(batch.logps, full, "grpo"))
    row, mask = batch.logps[:1], batch.mask[:1]
    torch.testing.assert_close(aggregate(row, mask, "bnpo"), aggregate(row, mask, "grpo"))


@given(seed=seeds)
@few
def test_dapo_with_its_default_items_is_bnpo(seed):
    batch = token_batch(seed)
    assert torch.equal(aggregate(batch.logps, batch.mask, "dapo"), aggregate(batch.logps, batch.mask, "bnpo"))


@given(seed=seeds)
@few
def test_dr_grpo_is_luspo_over_the_maximum_length(seed):
    batch = token_batch(seed)
    torch.testing.assert_close(
        aggregate(batch.logps, batch.mask, "dr_grpo", max_completion_length=9),
        aggregate(batch.logps, batch.mask, "luspo") / 9,
    )


@pytest.mark.parametrize("how", ["grpo", "bnpo", "dapo", "dr_grpo", "luspo"])
def test_an_empty_mask_aggregates_to_zero_and_masked_nan_has_no_gradient(how):
    losses = torch.tensor([[1.0, math.nan], [2.0, math.inf]])
    assert aggregate(losses, torch.zeros(2, 2), how, max_completion_length=2).item() == 0
    mask = torch.tensor([[1, 0], [1, 0]])
    grad = gradient(lambda x: aggregate(x, mask, how, max_completion_length=2), losses)
    assert (grad[:, 1] == 0).all() and (grad[:, 0] > 0).all()


def test_an_empty_row_counts_in_the_mean_of_rows():
    losses, mask = torch.tensor([[3.0, 5.0], [7.0, 7.0]]), torch.tensor([[1, 1], [0, 0]])
    assert aggregate(losses, mask, "grpo").item() == 2.0
    assert aggregate(losses, mask, "luspo").item() == 4.0
    assert aggregate(losses, mask, "bnpo").item() == 4.0
    assert aggregate(losses, mask, "dapo", num_items_in_batch=0).item() == 8.0


def test_aggregations_that_lack_something_are_refused():
    losses, mask = torch.ones(2, 2), torch.ones(2, 2)
    with pytest.raises(ValueError, match="max_completion_length"):
        aggregate(losses, mask, "dr_grpo")
    with pytest.raises(ValueError, match="max_completion_length"):
        aggregate(losses, mask, "dr_grpo", max_completion_length=0)
    with pytest.raises(ValueError, match="num_items_in_batch"):
        aggregate(losses, mask, "dapo", num_items_in_batch=-1)
    with pytest.raises(ValueError, match="how"):
        aggregate(losses, mask, "mean")
    with pytest.raises(ValueError, match="mask"):
        aggregate(losses, mask[:1], "grpo")
