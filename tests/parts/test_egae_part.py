"""The advantage part of T-PPO: who learns from which tokens, and the limit in which it is GAE."""

import math
from types import SimpleNamespace

import pytest
import torch
from part_batches import make_rollouts

from alignkit.errors import InputError
from alignkit.objectives.advantages import whiten
from alignkit.objectives.values import egae
from alignkit.parts.advantages.egae import EGAEAdvantages, EGAEAdvantagesConfig
from alignkit.parts.advantages.gae import GAEAdvantages


LENGTHS = [4, 2, 3, 4]
SCORES = [1.0, math.nan, math.nan, -1.0]  # the second goes on, the third is finished and nobody scored it


def batch_of(unfinished=(False, True, False, False), start=(1, 0, 2, 0), scores=SCORES):
    values = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    load = {
        "old_logps": lambda: -torch.ones(4, 4),
        "values": lambda: values,
        "window_start": lambda: torch.tensor(start),
        "unfinished": lambda: torch.tensor(unfinished),
    }
    return make_rollouts(scores, 1, lengths=LENGTHS, load=load)


def part(cls=EGAEAdvantages, **settings):
    return cls(cls.Config(**settings))


def test_the_policy_learns_from_this_window_and_the_critic_from_scored_finished_responses():
    batch = batch_of()
    result = part().estimate(batch)
    policy = torch.tensor([[0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    value = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    assert torch.equal(result.extras["scored"], policy) and torch.equal(result.extras["value_mask"], value)
    rewards = torch.zeros(4, 4, dtype=torch.float64)
    rewards[0, 3], rewards[3, 3] = 1.0, -1.0
    plain = egae(rewards, batch.values, batch.mask, batch.unfinished, 1.0, 0.95).advantages
    torch.testing.assert_close(result.values, whiten(plain, policy))
    expected = torch.where(value, torch.tensor([[1.0], [0.0], [0.0], [-1.0]]), 0.0)
    torch.testing.assert_close(result.extras["returns"], expected, check_dtype=False)
    assert result.metrics["objective/score"] == 0.0


def test_with_every_response_finished_and_written_at_once_it_is_gae_with_monte_carlo_targets():
    batch = batch_of(unfinished=(False,) * 4, start=(0,) * 4)
    ours, theirs = part().estimate(batch), part(GAEAdvantages, kl_coef=0.0, critic_lam=1.0).estimate(batch)
    torch.testing.assert_close(ours.values, theirs.values)
    mask = ours.extras["value_mask"]
    assert torch.equal(mask, theirs.extras["scored"])
    torch.testing.assert_close(ours.extras["returns"][mask], theirs.extras["returns"][mask])
    assert ours.metrics == pytest.approx(theirs.metrics)


def test_where_nothing_has_finished_there_is_no_metric_and_no_value_target():
    result = part().estimate(batch_of(unfinished=(True,) * 4, scores=[math.nan] * 4))
    assert not result.metrics and not result.extras["value_mask"].any() and not result.extras["returns"].any()
    assert result.values.isfinite().all() and result.values.any()


@pytest.mark.parametrize("settings", [{"kl_coef": 0.1}, {"bootstrap_truncated": True}, {"whiten_rewards": True}])
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        part(**settings)


def test_a_trainer_without_windows_is_refused():
    with pytest.raises(InputError, match="`tppo` alone"):
        EGAEAdvantages.check(EGAEAdvantagesConfig(), SimpleNamespace(critic="separate"))
