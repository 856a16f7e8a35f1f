"""The loss part `bapo`: one pair of bounds for the micro-batch of all processes."""

import dataclasses

import pytest
import torch
from part_batches import make_tokens

from alignkit.errors import InputError
from alignkit.objectives.policy import bapo_clip_bounds, bapo_loss, grpo_loss
from alignkit.parts.policy_losses.bapo import BAPOLoss, BAPOLossConfig
from alignkit.trainers.online.bapo import BAPOConfig


def inputs(batch):
    return batch.logps, batch.old_logps, batch.advantages, batch.mask


def found(batch):
    return [batch.metrics[f"bapo/{name}"].item() for name in ("low", "high", "positive_share")]


@pytest.mark.parametrize("contribution", ["surrogate", "active"])
@pytest.mark.parametrize("order", ["high_first", "low_first"])
def test_the_loss_is_clipped_at_the_bounds_that_the_search_finds(contribution, order):
    settings = {"target": 0.8, "contribution": contribution, "order": order}
    batch = make_tokens(rows=8, spread=0.8)
    loss = BAPOLoss(BAPOLossConfig(**settings, dual_clip=3.0)).token_loss(batch)
    bounds = bapo_clip_bounds(*inputs(batch), **settings)
    assert found(batch) == pytest.approx(list(bounds)) and bounds[:2] != (0.6, 1.2)
    assert torch.equal(loss, bapo_loss(*inputs(batch), bounds.low, bounds.high, 3.0))


def test_two_processes_find_the_bounds_of_the_whole_batch():
    whole = make_tokens(rows=8, spread=0.8)
    names = ("logps", "old_logps", "advantages", "mask")
    halves = [
        dataclasses.replace(whole, metrics={}, **{name: getattr(whole, name)[rows] for name in names})
        for rows in (slice(0, 3), slice(3, 8))
    ]
    part, sent = BAPOLoss(BAPOLossConfig(target=0.8)), []
    for half in halves:
        half.reduce_sum = lambda sums: sent.append(sums) or sums
        part.token_loss(half)
    for half in halves:
        half.reduce_sum = lambda sums: sent[0] + sent[1]
        part.token_loss(half)
    part.token_loss(whole)
    assert found(halves[0]) == found(halves[1]) == pytest.approx(found(whole))
    assert found(whole)[:2] != [0.6, 1.2]


def test_a_target_of_zero_and_bounds_around_one_give_grpo():
    batch = make_tokens(rows=8, spread=0.8)
    loss = BAPOLoss(BAPOLossConfig(target=0.0, low_start=0.8, high_start=1.2)).token_loss(batch)
    torch.testing.assert_close(loss, grpo_loss(*inputs(batch)))


def test_exactly_on_policy_nothing_is_clipped():
    batch = make_tokens(old_logps=None)
    BAPOLoss(BAPOLossConfig()).token_loss(batch).sum().backward()
    expected = torch.where(batch.mask, -batch.advantages[:, None], 0.0)
    torch.testing.assert_close(batch.logps.grad, expected)
    assert not batch.metrics["bapo/clipped_low"].any() and not batch.metrics["bapo/clipped_high"].any()


def test_the_clipped_shares_are_those_of_the_tokens_without_gradient():
    batch = make_tokens(rows=8, spread=0.8)
    BAPOLoss(BAPOLossConfig()).token_loss(batch).sum().backward()
    clipped = (batch.metrics["bapo/clipped_low"] + batch.metrics["bapo/clipped_high"]).bool()
    assert torch.equal(clipped[batch.mask], batch.logps.grad[batch.mask] == 0) and clipped[batch.mask].any()


@pytest.mark.parametrize("field, value", [("epsilon", 0.1), ("epsilon_high", 0.28), ("delta", 3.0)])
def test_trls_clip_range_is_refused(tmp_path, field, value):
    with pytest.raises(InputError, match=field):
        BAPOConfig(output_dir=str(tmp_path), bf16=False, **{field: value})


@pytest.mark.parametrize("field, value", [("target", 1.0), ("low_max", 1.1), ("order", "both"), ("dual_clip", 0.5)])
def test_settings_outside_their_range_are_refused(tmp_path, field, value):
    with pytest.raises(InputError, match=field):
        BAPOConfig(output_dir=str(tmp_path), bf16=False, **{field: value})


def test_a_run_that_is_exactly_on_policy_is_warned_of(tmp_path):
    (sentence,) = BAPOConfig(output_dir=str(tmp_path), bf16=False).warnings()
    assert "on-policy" in sentence and "bounds" in sentence
    assert BAPOConfig(output_dir=str(tmp_path), bf16=False, num_iterations=2).warnings() == []
