"""PPO's clipped value loss, its adaptive KL coefficient, and the critic of direct advantage."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.values import adaptive_kl_coef, direct_advantage_critic_loss, value_loss


seeds = st.integers(0, 10**6)
clips = st.floats(0.01, 3)
few = settings(max_examples=25, deadline=None)


@given(seeds, clips)
@few
def test_clipping_never_lowers_the_loss_and_changes_nothing_near_the_old_value(draw_tokens, seed, clip_range):
    mask, values, old_values, returns = draw_tokens(seed, 3)
    clipped = value_loss(values, old_values, returns, mask, clip_range)
    plain = value_loss(values, old_values, returns, mask, None)
    torch.testing.assert_close(plain, torch.where(mask, (values - returns) ** 2 / 2, 0.0))
    assert (clipped >= plain).all()
    near = (values - old_values).abs() <= clip_range
    torch.testing.assert_close(clipped[near], plain[near])


@given(seeds, clips)
@few
def test_the_gradient_is_zero_where_the_clipped_branch_wins_and_the_error_elsewhere(
    draw_tokens, gradient_of, seed, clip_range
):
    mask, values, old_values, returns = draw_tokens(seed, 3)
    (grad,) = gradient_of(lambda v: value_loss(v, old_values, returns, mask, clip_range), values)
    near = old_values + (values - old_values).clamp(-clip_range, clip_range)
    far = (values - old_values).abs() > clip_range
    wins = far & ((near - returns).abs() > (values - returns).abs())
    torch.testing.assert_close(grad, torch.where(mask & ~wins, values - returns, 0.0))


@pytest.mark.parametrize("rubbish", [math.nan, math.inf, -math.inf])
def test_rubbish_under_the_mask_reaches_neither_loss_nor_gradient(draw_tokens, gradient_of, rubbish):
    mask, *tables = draw_tokens(0, 3)
    values, old_values, returns = (torch.where(mask, table, rubbish) for table in tables)
    assert torch.equal(value_loss(values, old_values, returns, mask), value_loss(*tables, mask))
    (grad,) = gradient_of(lambda v: value_loss(v, old_values, returns, mask), values)
    assert grad.isfinite().all() and (grad[~mask] == 0).all()


def test_only_the_values_have_a_gradient(draw_tokens, gradient_of):
    mask, *tables = draw_tokens(1, 3)
    grads = gradient_of(lambda *args: value_loss(*args, mask), *tables)
    assert [grad is not None for grad in grads] == [True, False, False]


@pytest.mark.parametrize("clip_range", [0.0, -0.2, math.nan])
def test_a_clip_range_that_is_not_positive_is_refused(clip_range):
    with pytest.raises(ValueError, match="`clip_range` is"):
        value_loss([[0.0]], [[0.0]], [[0.0]], [[1]], clip_range)


@pytest.mark.parametrize("name", ["old_values", "returns", "mask"])
def test_other_shapes_are_refused_by_name(name):
    arguments = {key: [[0.0, 1.0]] for key in ("values", "old_values", "returns", "mask")}
    with pytest.raises(ValueError, match=f"`{name}` has shape"):
        value_loss(**arguments | {name: [[0.0]]})


@given(st.floats(0, 10), st.floats(-50, 50), st.floats(0.1, 20), st.integers(0, 1000))
@few
def test_the_kl_coefficient_follows_the_kl_by_at_most_a_fifth_per_horizon(kl_coef, current_kl, target, n_steps):
    updated = adaptive_kl_coef(kl_coef, current_kl, target, n_steps)
    assert (updated - kl_coef) * (current_kl - target) >= 0
    assert abs(updated - kl_coef) <= 0.2 * kl_coef * n_steps / 10000 + 1e-12
    assert adaptive_kl_coef(kl_coef, target, target, n_steps) == kl_coef


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"target": 0.0}, "`target` is 0.0"),
        ({"horizon": 0}, "`horizon` is 0"),
        ({"kl_coef": -0.1}, "`kl_coef` is -0.1"),
        ({"current_kl": math.nan}, "`current_kl` is nan"),
        ({"n_steps": -1}, "`n_steps` is -1"),
    ],
)
def test_bad_arguments_of_the_kl_coefficient_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        adaptive_kl_coef(**{"kl_coef": 0.1, "current_kl": 1.0, "target": 6.0, "n_steps": 8} | changes)


@given(st.floats(0.01, 0.99))
@few
def test_the_step_critic_is_best_where_its_value_is_the_target(gradient_of, target):
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64)
    (grad,) = gradient_of(lambda z: direct_advantage_critic_loss(z, [target] * 33), logits)
    torch.testing.assert_close(grad, logits.sigmoid() - target)
    best = math.log(target / (1 - target))
    entropy = -target * math.log(target) - (1 - target) * math.log(1 - target)
    assert direct_advantage_critic_loss([best], [target]).item() == pytest.approx(entropy)
    assert (direct_advantage_critic_loss(logits, [target] * 33) >= entropy - 1e-12).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_step_critic_is_finite_for_huge_logits(gradient_of, dtype):
    logits, targets = torch.tensor([-1e3, 1e3, -1e3, 1e3], dtype=dtype), [1.0, 0.0, 0.0, 1.0]
    assert direct_advantage_critic_loss(logits, targets).tolist() == pytest.approx([1e3, 1e3, 0, 0], rel=1e-2)
    (grad,) = gradient_of(lambda z: direct_advantage_critic_loss(z, targets), logits)
    assert grad.isfinite().all()


@pytest.mark.parametrize("target", [-0.1, 1.1, math.nan])
def test_a_target_that_is_no_probability_is_refused(target):
    with pytest.raises(ValueError, match="`targets` is"):
        direct_advantage_critic_loss([0.0], [target])
