"""PPO's clipped policy loss: where it has a gradient, and the limits in which PPO is REINFORCE."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from token_batches import few, gradient, seeds, token_batch

from alignkit.objectives.policy import grpo_loss, ppo_loss
from alignkit.objectives.rewards import kl_shaped_rewards
from alignkit.objectives.values import gae


@given(seed=seeds, dual_clip=st.sampled_from([None, 1.5, 3.0]))
@few
def test_on_policy_value_and_gradient_are_minus_the_advantage(seed, dual_clip):
    batch = token_batch(seed)
    expected = torch.where(batch.mask, -batch.advantages[:, None], 0.0)
    args = (batch.logps, batch.advantages, batch.mask)
    torch.testing.assert_close(ppo_loss(batch.logps, *args, dual_clip=dual_clip), expected)
    grad = gradient(lambda x: ppo_loss(x, *args, dual_clip=dual_clip), batch.logps)
    torch.testing.assert_close(grad, expected)


@given(seed=seeds, low=st.floats(0.05, 0.5), high=st.floats(0.05, 0.5), dual_clip=st.sampled_from([None, 1.2, 2.0]))
@few
def test_the_gradient_vanishes_exactly_where_a_clip_binds(seed, low, high, dual_clip):
    batch = token_batch(seed, full=True, spread=1.0)
    log_ratio, advantages = batch.logps - batch.old_logps, batch.advantages[:, None].expand_as(batch.logps)
    ratio = log_ratio.exp()
    grad = gradient(
        lambda x: ppo_loss(x, batch.old_logps, batch.advantages, batch.mask, low, high, dual_clip), batch.logps
    )
    bound = ((advantages > 0) & (ratio > 1 + high)) | ((advantages < 0) & (ratio < 1 - low))
    if dual_clip is not None:
        bound |= (advantages < 0) & (ratio > dual_clip)
    torch.testing.assert_close(grad, torch.where(bound, 0.0, -ratio * advantages))


@given(seed=seeds, dual_clip=st.floats(1.1, 5))
@few
def test_the_dual_clip_bounds_the_loss_of_negative_advantages_only(seed, dual_clip):
    batch = token_batch(seed, full=True, spread=2.0)
    args = (batch.logps, batch.old_logps, batch.advantages, batch.mask)
    plain, clipped = ppo_loss(*args), ppo_loss(*args, dual_clip=dual_clip)
    bad = batch.advantages < 0
    assert torch.equal(clipped[~bad], plain[~bad])
    torch.testing.assert_close(clipped[bad], plain[bad].minimum(dual_clip * batch.advantages[bad].abs()[:, None]))


@given(seed=seeds, low=st.floats(0, 0.9), high=st.floats(0, 2))
@few
def test_without_dual_clip_it_is_the_loss_of_grpo(seed, low, high):
    batch = token_batch(seed)
    args = (batch.logps, batch.old_logps, batch.advantages, batch.mask, low, high)
    torch.testing.assert_close(ppo_loss(*args), grpo_loss(*args))


@given(seed=seeds)
@few
def test_on_a_bandit_with_the_batch_mean_as_value_it_is_reinforce_with_that_baseline(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, generator=generator, dtype=torch.float64)
    actions = torch.randint(0, 4, (16,), generator=generator)
    rewards = torch.randn(16, 1, generator=generator, dtype=torch.float64)
    mask, old_logps = torch.ones(16, 1), logits.log_softmax(0)[actions][:, None]
    advantages = gae(rewards, rewards.mean().expand(16, 1), mask).advantages

    def logps(x):
        return x.log_softmax(0)[actions][:, None]

    ppo = gradient(lambda x: ppo_loss(logps(x), old_logps, advantages, mask), logits)
    reinforce = gradient(lambda x: -logps(x) * (rewards - rewards.mean()), logits)
    torch.testing.assert_close(ppo, reinforce)


@given(seed=seeds, kl_coef=st.floats(0, 1))
@few
def test_without_critic_and_discounts_it_is_reinforce_with_the_kl_in_the_reward(seed, kl_coef):
    batch = token_batch(seed)
    scores = batch.advantages
    rewards = kl_shaped_rewards(scores, batch.logps, batch.ref_logps, batch.mask, kl_coef)
    advantages = gae(rewards, torch.zeros_like(rewards), batch.mask, gamma=1.0, lam=1.0).advantages
    to_go = rewards.flip(1).cumsum(1).flip(1)
    ppo = gradient(lambda x: ppo_loss(x, batch.logps, advantages, batch.mask), batch.logps)
    torch.testing.assert_close(ppo, torch.where(batch.mask, -to_go, 0.0), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon_low": 1.0},
        {"epsilon_low": -0.1},
        {"epsilon_low": math.nan},
        {"epsilon_high": -0.1},
        {"dual_clip": 1.0},
        {"dual_clip": math.nan},
    ],
)
def test_hyperparameters_outside_their_range_are_refused_by_name(changes):
    with pytest.raises(ValueError, match=f"`{next(iter(changes))}` is"):
        ppo_loss([[0.0]], [[0.0]], [1.0], [[1]], **changes)
