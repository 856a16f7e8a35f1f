"""The parts `hapo`: token-level group averages, and a loss that the entropy of each token shapes."""

import dataclasses
import json

import pytest
import torch
from part_batches import make_rollouts, make_tokens

from alignkit.errors import InputError
from alignkit.objectives.policy import grpo_loss, hapo_entropy_signal, hapo_loss
from alignkit.parts.advantages.hapo import HAPOAdvantages
from alignkit.parts.part import PartConfig
from alignkit.parts.policy_losses.hapo import HAPOLoss, HAPOLossConfig
from alignkit.trainers.online.hapo import HAPOConfig


def inputs(batch):
    return batch.logps, batch.old_logps, batch.advantages, batch.mask


def part(**settings):
    return HAPOLoss(HAPOLossConfig(**settings))


def test_every_token_of_the_group_counts_once():
    batch = make_rollouts([1.0, 0.0, 0.0, 0.0, 1.0, 1.0], num_generations=3, lengths=[2, 4, 6, 1, 2, 3])
    values = HAPOAdvantages(PartConfig()).estimate(batch).values
    for rows in (slice(0, 3), slice(3, 6)):
        kept = values[rows][batch.mask[rows]]
        assert kept.sum().item() == pytest.approx(0, abs=1e-9) and kept.std(correction=0).item() == pytest.approx(
            1, abs=1e-5
        )
    # One short success against ten tokens of failures weighs more than one of three completions.
    assert values[0, 0].item() == pytest.approx(5**0.5, abs=1e-4) and (values[~batch.mask] == 0).all()


def test_the_loss_is_hapos_with_the_trainers_clip_range():
    batch = make_tokens(rows=8, epsilon_low=0.1, epsilon_high=0.3)
    loss = part(quantile=0.6, adv_beta=0.5, clip_alpha=0.7).token_loss(batch)
    expected = hapo_loss(*inputs(batch), batch.entropies, 0.6, 0.1, 0.3, 0.5, 0.7)
    assert torch.equal(loss, expected) and bool((loss != grpo_loss(*inputs(batch), 0.1, 0.3)).any())


def test_both_strengths_zero_give_clip_higher():
    batch = make_tokens(rows=8, epsilon_high=0.28)
    torch.testing.assert_close(
        part(adv_beta=0.0, clip_alpha=0.0).token_loss(batch), grpo_loss(*inputs(batch), 0.2, 0.28)
    )


def test_certain_tokens_are_damped_and_uncertain_ones_are_not():
    """The sign of the signal, which the released code loses: it would amplify the most certain token."""
    batch = make_tokens(rows=8, old_logps=None)
    part().token_loss(batch).sum().backward()
    gradient, advantages = batch.logps.grad, batch.advantages[:, None].expand_as(batch.logps)
    entropies = torch.where(batch.mask, batch.entropies, torch.inf)
    assert gradient.flatten()[entropies.argmin()] == 0
    uncertain = batch.metrics["hapo/uncertain_share"].bool()
    torch.testing.assert_close(gradient[uncertain], -advantages[uncertain])
    certain = batch.mask & ~uncertain
    assert (gradient[certain].abs() <= advantages[certain].abs()).all() and uncertain.any()


def test_two_processes_share_the_statistics_of_the_whole_batch():
    whole = make_tokens(rows=8)
    names = ("logps", "old_logps", "advantages", "mask", "entropies")
    halves = [
        dataclasses.replace(whole, metrics={}, **{name: getattr(whole, name)[rows] for name in names})
        for rows in (slice(0, 3), slice(3, 8))
    ]
    everything = torch.cat([half.entropies[half.mask] for half in halves])
    losses, states = [], []
    for half in halves:
        half.gather = lambda values: everything
        process = part()
        losses.append(process.token_loss(half))
        states.append(process.state_dict())
    assert states[0] == states[1]
    torch.testing.assert_close(torch.cat(losses), part().token_loss(whole))
    assert len(halves[0].entropies[halves[0].mask]) != len(everything)


def test_statistics_are_those_of_the_updates_since_the_last_generation():
    estimator = part()
    assert estimator.close_generation_batch() is None
    batches = [make_tokens(seed=1), make_tokens(rows=8, seed=2)]
    for batch in batches:
        estimator.token_loss(batch)
    estimator.token_loss(make_tokens(seed=3, training=False))
    each = [hapo_entropy_signal(batch.entropies, batch.mask) for batch in batches]
    counts = [int(batch.mask.sum()) for batch in batches]
    center, scale = estimator.close_generation_batch()
    assert center == pytest.approx(sum(n * s.center for n, s in zip(counts, each, strict=True)) / sum(counts))
    assert scale == pytest.approx(sum(n * s.scale for n, s in zip(counts, each, strict=True)) / sum(counts))
    assert estimator.close_generation_batch() == (center, scale)


def test_state_survives_json():
    estimator, restored = part(), part()
    estimator.token_loss(make_tokens(seed=1))
    closed = estimator.close_generation_batch()
    estimator.token_loss(make_tokens(seed=2))
    restored.load_state_dict(json.loads(json.dumps(estimator.state_dict())))
    assert restored.state_dict() == estimator.state_dict()
    assert restored.close_generation_batch() == estimator.close_generation_batch() != closed


@pytest.mark.parametrize(
    "message, settings",
    [
        ("epsilon", {"epsilon": 0.5}),
        ("epsilon", {"epsilon": 0.2, "clip_alpha": 4.0}),
        ("epsilon_high", {"epsilon_high": 0.0}),
        ("adv_beta", {"adv_beta": 1.5}),
        ("quantile", {"quantile": 1.1}),
        ("tau", {"tau": -0.1}),
        ("tau", {"tau": float("nan")}),
        ("delta", {"delta": 3.0}),
        ("use_transformers_continuous_batching", {"use_transformers_continuous_batching": True}),
        ("use_vllm", {"use_vllm": True}),
    ],
)
def test_what_does_not_go_with_it_is_refused(tmp_path, message, settings):
    with pytest.raises(InputError, match=message):
        HAPOConfig(output_dir=str(tmp_path), bf16=False, **settings)


def test_vllm_goes_with_the_rest_of_hapo(tmp_path):
    HAPOConfig(output_dir=str(tmp_path), bf16=False, use_vllm=True, adaptive_temperature=False)
