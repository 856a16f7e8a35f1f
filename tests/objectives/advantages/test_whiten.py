"""Whitening of token advantages over the rollout batch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.advantages import whiten


seeds = st.integers(0, 10**6)
few = settings(max_examples=25, deadline=None)


@given(seeds, st.floats(-100, 100))
@few
def test_valid_tokens_get_mean_zero_and_unbiased_deviation_one_whatever_is_added(draw_tokens, seed, constant):
    mask, advantages = draw_tokens(seed, 1)
    result = whiten(advantages, mask)
    assert result[mask].mean().item() == pytest.approx(0, abs=1e-9)
    assert result[mask].std().item() == pytest.approx(1, abs=1e-6)
    assert (result[~mask] == 0).all()
    torch.testing.assert_close(whiten(advantages + constant, mask), result, atol=1e-9, rtol=0)


@given(seeds)
@few
def test_the_mean_stays_without_the_shift(draw_tokens, seed):
    mask, advantages = draw_tokens(seed, 1)
    result = whiten(advantages, mask, shift_mean=False)
    mean = advantages[mask].mean()
    assert result[mask].mean().item() == pytest.approx(mean.item())
    torch.testing.assert_close(result, torch.where(mask, whiten(advantages, mask) + mean, 0.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [0.0, 1e-16, 1e-8])
@pytest.mark.parametrize("value", [0.7, 0.1, -3.3])
def test_equal_advantages_give_exactly_zero(dtype, eps, value):
    # The float32 mean of seven copies of 0.7 is off by a rounding.
    assert (whiten(torch.full((1, 7), value, dtype=dtype), torch.ones(1, 7), eps=eps) == 0).all()


def test_a_lone_token_gives_zero_or_itself():
    assert whiten([[1.0, 2.5]], [[0, 1]]).tolist() == [[0.0, 0.0]]
    assert whiten([[math.nan, 2.5]], [[0, 1]], shift_mean=False).tolist() == [[0.0, 2.5]]
    assert whiten([[math.inf, math.nan]], [[0, 0]], shift_mean=False).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("rubbish", [math.nan, math.inf])
def test_rubbish_under_the_mask_changes_nothing(draw_tokens, rubbish):
    mask, advantages = draw_tokens(0, 1)
    assert torch.equal(whiten(torch.where(mask, advantages, rubbish), mask), whiten(advantages, mask))


@given(seeds)
@few
def test_rows_gathered_from_two_processes_are_whitened_as_those_of_one(draw_tokens, seed):
    mask, advantages = draw_tokens(seed, 1, rows=6)
    # Process 0 holds the even rows and process 1 the odd ones, padded further on the right.
    order = torch.tensor([0, 2, 4, 1, 3, 5])
    padding = torch.zeros(6, 2)
    gathered = whiten(torch.cat([advantages[order], padding], dim=1), torch.cat([mask[order], padding.bool()], dim=1))
    torch.testing.assert_close(gathered[:, :7], whiten(advantages, mask)[order])


def test_there_is_no_gradient_and_half_precision_is_widened(draw_tokens):
    mask, advantages = draw_tokens(1, 1)
    result = whiten(advantages.half().requires_grad_(), mask)
    assert result.dtype == torch.float32 and not result.requires_grad


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"eps": -1e-9}, "`eps` is"),
        ({"mask": [[1]]}, "`mask` has shape"),
        ({"advantages": [1.0, 2.0]}, "`advantages` has shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        whiten(**{"advantages": [[1.0, 2.0]], "mask": [[1, 1]]} | changes)
