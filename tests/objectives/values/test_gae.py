"""GAE over masked tokens: its two limits, holes, bootstrap, decoupled lambdas, rows that nobody could score."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.values import check_gae, gae, scorable_mask


seeds = st.integers(0, 10**6)
units = st.floats(0, 1)
few = settings(max_examples=25, deadline=None)


def by_definition(rewards, values, bootstrap, gamma, lam):
    """Advantages of one row without masked tokens, as the sum over k of (gamma lam)^k delta_(t+k)."""
    following = (values + [bootstrap])[1:]
    deltas = [r + gamma * after - v for r, v, after in zip(rewards, values, following, strict=True)]
    return [sum((gamma * lam) ** k * d for k, d in enumerate(deltas[t:])) for t in range(len(deltas))]


@given(seeds)
@few
def test_without_discounts_the_returns_are_the_reward_to_go_whatever_the_values(draw_tokens, seed):
    mask, rewards, values, others = draw_tokens(seed, 3)
    to_go = torch.where(mask, rewards, 0.0).flip(1).cumsum(1).flip(1)
    for table in (values, others):
        result = gae(rewards, table, mask, gamma=1.0, lam=1.0)
        torch.testing.assert_close(result.returns, torch.where(mask, to_go, 0.0))
        torch.testing.assert_close(result.advantages, torch.where(mask, to_go - table, 0.0))


@given(seeds, units)
@few
def test_lambda_zero_is_the_one_step_td_error(draw_tokens, seed, gamma):
    _, rewards, values = draw_tokens(seed, 2)
    following = torch.cat([values[:, 1:], torch.zeros(len(values), 1, dtype=torch.float64)], dim=1)
    result = gae(rewards, values, torch.ones_like(rewards), gamma, lam=0.0)
    torch.testing.assert_close(result.advantages, rewards + gamma * following - values)


@given(seeds, units, units, units)
@few
def test_a_hole_in_the_mask_equals_deleting_its_token(draw_tokens, seed, gamma, lam, critic_lam):
    mask, rewards, values = draw_tokens(seed, 2)
    bootstrap = rewards.sum(dim=1)
    result = gae(rewards, values, mask, gamma, lam, bootstrap, critic_lam)
    for row, keep in enumerate(mask):
        args = (rewards[row][keep].tolist(), values[row][keep].tolist(), bootstrap[row].item(), gamma)
        assert result.advantages[row][keep].tolist() == pytest.approx(by_definition(*args, lam))
        targets = by_definition(*args, critic_lam)
        assert (result.returns - values)[row][keep].tolist() == pytest.approx(targets)
    assert (result.advantages[~mask] == 0).all() and (result.returns[~mask] == 0).all()


@pytest.mark.parametrize("rubbish", [math.nan, math.inf, -math.inf])
def test_rubbish_under_the_mask_changes_nothing(draw_tokens, rubbish):
    mask, rewards, values = draw_tokens(1, 2)
    dirty = gae(torch.where(mask, rewards, rubbish), torch.where(mask, values, rubbish), mask)
    assert all(map(torch.equal, dirty, gae(rewards, values, mask)))


def test_more_padding_on_the_right_changes_nothing(draw_tokens):
    mask, rewards, values = draw_tokens(2, 2)
    wide = [torch.cat([table, table[:, :3]], dim=1) for table in (rewards, values)]
    result = gae(*wide, torch.cat([mask, torch.zeros_like(mask[:, :3])], dim=1))
    for padded, plain in zip(result, gae(rewards, values, mask), strict=True):
        assert torch.equal(padded[:, :7], plain) and (padded[:, 7:] == 0).all()


@given(seeds, units)
@few
def test_a_bootstrap_value_is_a_discounted_reward_at_the_last_valid_token(draw_tokens, seed, gamma):
    _, rewards, values = draw_tokens(seed, 2)
    mask = torch.arange(7) < torch.tensor([7, 5, 3, 1, 0])[:, None]
    bootstrap = values[:, 0]
    paid = rewards.clone()
    for row, length in enumerate([7, 5, 3, 1]):
        paid[row, length - 1] += gamma * bootstrap[row]
    left, right = gae(rewards, values, mask, gamma, bootstrap_values=bootstrap), gae(paid, values, mask, gamma)
    torch.testing.assert_close(left.advantages, right.advantages)
    torch.testing.assert_close(left.returns, right.returns)


def test_the_lambda_of_the_critic_changes_the_returns_only(draw_tokens):
    mask, rewards, values = draw_tokens(3, 2)
    plain, decoupled = gae(rewards, values, mask, lam=0.5), gae(rewards, values, mask, lam=0.5, critic_lam=1.0)
    assert torch.equal(plain.advantages, decoupled.advantages)
    torch.testing.assert_close(decoupled.returns, gae(rewards, values, mask, lam=1.0).returns)
    assert not torch.allclose(plain.returns, decoupled.returns)


def test_a_row_with_a_missing_reward_is_fully_masked_and_the_others_are_untouched(draw_tokens):
    mask, rewards, values = draw_tokens(4, 2)
    clean = gae(rewards, values, mask)
    rewards[1, mask[1].nonzero()[-1]] = math.nan
    rewards[2, (~mask[2]).nonzero()[0]] = math.nan
    result, scorable = gae(rewards, values, mask), scorable_mask(rewards, mask)
    others = [0, 2, 3, 4]
    for table, expected in zip(result, clean, strict=True):
        assert (table[1] == 0).all() and torch.equal(table[others], expected[others])
    assert not scorable[1].any() and torch.equal(scorable[others], mask[others])


def test_a_terminal_reward_without_critic_gives_every_token_the_same_advantage():
    rewards = [[0.0, 0.0, 0.7], [0.0, -0.3, 0.0]]
    advantages = gae(rewards, torch.zeros(2, 3), [[1, 1, 1], [1, 1, 0]], lam=1.0).advantages
    assert advantages.tolist() == [[0.7, 0.7, 0.7], [-0.3, -0.3, 0.0]]


def test_nothing_has_a_gradient_and_half_precision_is_widened(draw_tokens):
    mask, rewards, values = draw_tokens(5, 2)
    result = gae(rewards.bfloat16().requires_grad_(), values.bfloat16().requires_grad_(), mask)
    assert all(table.dtype == torch.float32 and not table.requires_grad for table in result)
    single = gae(rewards.float(), values.float(), mask).advantages
    torch.testing.assert_close(single.double(), gae(rewards, values, mask).advantages, atol=1e-5, rtol=1e-5)


def test_no_tokens_at_all_are_no_error():
    assert gae(torch.zeros(2, 0), torch.zeros(2, 0), torch.zeros(2, 0)).advantages.shape == (2, 0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"gamma": 1.1}, "`gamma` is 1.1"),
        ({"lam": -0.1}, "`lam` is -0.1"),
        ({"lam": math.nan}, "`lam` is nan"),
        ({"critic_lam": 2.0}, "`critic_lam` is 2.0"),
        ({"values": [[1.0]]}, "`values` has shape"),
        ({"mask": [[1]]}, "`mask` has shape"),
        ({"rewards": [1.0, 2.0]}, "`rewards` has shape"),
        ({"bootstrap_values": [1.0, 2.0]}, "`bootstrap_values` has shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    arguments = {"rewards": [[0.0, 1.0]], "values": [[0.0, 0.0]], "mask": [[1, 1]]}
    with pytest.raises(ValueError, match=message):
        gae(**arguments | changes)


def test_the_range_check_takes_the_ends_of_the_interval():
    check_gae(0.0, 1.0, 0.0)
