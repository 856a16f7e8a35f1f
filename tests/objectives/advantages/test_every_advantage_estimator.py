"""What every advantage estimator must hold: rewards that are missing or equal give no signal, nothing is NaN."""

import pytest
import torch
from hypothesis import given
from reward_tables import few, lengths_of, mask_of, rewards_of, seeds

from alignkit.objectives.advantages import (
    adora_advantages,
    apo_asymmetric_advantages,
    apo_asymmetric_kl_weights,
    bnpo_advantages,
    cgpo_advantages,
    copo_advantages,
    dcpo_advantages,
    gdpo_advantages,
    grpo_advantages,
    hapo_advantages,
    riskpo_advantages,
)


MASK = mask_of(lengths_of(0))
LOGPS = torch.linspace(-2, -0.1, MASK.numel()).view(MASK.shape)
IDS = lengths_of(3, longest=3)

# 16 rewards of 4 prompts.
ESTIMATORS = {
    "grpo": lambda r: grpo_advantages(r, 4),
    "grpo_batch": lambda r: grpo_advantages(r, 4, scale_rewards="batch"),
    "grpo_none": lambda r: grpo_advantages(r, 4, scale_rewards="none"),
    "gdpo": lambda r: gdpo_advantages(r, 4),
    "bnpo": lambda r: bnpo_advantages(r, 4, reward_min=-10.0, reward_max=10.0),
    "riskpo": lambda r: riskpo_advantages(r, 4, -0.5, 0.5, bundle_size=2),
    "riskpo_official": lambda r: riskpo_advantages(
        r, 4, -0.5, 0.5, bundle_size=2, form="official_code", normalize_std=True, credit="sum_mean"
    ),
    "copo_local": lambda r: copo_advantages(r, 4, IDS[: len(r)]).local_advantages,
    "copo_global": lambda r: copo_advantages(r, 4, IDS[: len(r)]).global_advantages,
    "adora": lambda r: adora_advantages(r, 4, lengths_of(1)[: len(r)]),
    "apo_asymmetric": lambda r: apo_asymmetric_advantages(r, 4, lengths_of(1)[: len(r)], correct_threshold=0.5),
    "dcpo": lambda r: dcpo_advantages(r, 4, LOGPS[: len(r)].to(r), LOGPS[: len(r)].to(r) - 0.1, MASK[: len(r)], 0.2),
    "cgpo": lambda r: cgpo_advantages(r, 4, 0 * r, r == r, 0 * r, 0 * r, 1.0),
    "cgpo_group": lambda r: cgpo_advantages(r, 4, 0 * r, r == r, 0 * r, 0 * r, 1.0, baseline="group"),
    "hapo": lambda r: hapo_advantages(r, 4, MASK[: len(r)]),
}
each_estimator = pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)


@each_estimator
@given(seed=seeds)
@few
def test_missing_rewards_give_zero_and_nothing_is_nan(estimate, seed):
    rewards = rewards_of(seed, missing=0.4)
    advantages = estimate(rewards)
    assert advantages.isfinite().all()
    assert (advantages[rewards.isnan()] == 0).all()
    assert (estimate(torch.full_like(rewards, torch.nan)) == 0).all()


@each_estimator
def test_advantages_keep_the_dtype_and_carry_no_gradient(estimate):
    rewards = rewards_of(0).float().requires_grad_()
    advantages = estimate(rewards)
    assert advantages.dtype == torch.float32 and not advantages.requires_grad
    torch.testing.assert_close(advantages.double(), estimate(rewards.detach().double()), atol=1e-5, rtol=1e-4)


@each_estimator
def test_incomplete_groups_are_refused(estimate):
    with pytest.raises(ValueError, match="15 rows"):
        estimate(rewards_of(0)[:15])


@pytest.mark.parametrize(
    "name", ["grpo", "grpo_none", "gdpo", "bnpo", "copo_local", "adora", "apo_asymmetric", "cgpo_group", "hapo"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_groups_of_equal_rewards_give_exactly_zero(name, dtype):
    # 0.7 and 0.1 have rounding in their float32 means: a tiny sigma must not blow it up.
    rewards = torch.tensor([0.7, 0.1, 0.3, -0.9], dtype=dtype).repeat_interleave(4)
    assert (ESTIMATORS[name](rewards) == 0).all()


def test_seven_equal_float32_rewards_give_zero_even_with_a_tiny_eps():
    assert (grpo_advantages(torch.full((7,), 0.7), 7, eps=1e-6) == 0).all()


@pytest.mark.parametrize(
    "estimate",
    [
        lambda r: bnpo_advantages(r, 1),
        lambda r: cgpo_advantages(r, 1, 0 * r, r == r, 0 * r, 0 * r, 1.0, baseline="group"),
        lambda r: copo_advantages(r, 1, IDS).local_advantages,
        lambda r: gdpo_advantages(r, 1),
        lambda r: grpo_advantages(r, 1),
        lambda r: grpo_advantages(r, 1, "batch"),
        lambda r: hapo_advantages(r, 1, MASK),
    ],
)
def test_groups_of_one_give_zero(estimate):
    assert (estimate(rewards_of(0, binary=True)) == 0).all()


def test_weights_that_take_one_reward_column_refuse_several():
    table = rewards_of(0, columns=2)
    for estimate in (
        lambda r: riskpo_advantages(r, 4, -0.5, 0.5, bundle_size=2),
        lambda r: copo_advantages(r, 4, IDS),
        lambda r: adora_advantages(r, 4, lengths_of(1)),
        lambda r: apo_asymmetric_advantages(r, 4, lengths_of(1)),
        lambda r: apo_asymmetric_kl_weights(r, 4),
    ):
        with pytest.raises(ValueError, match=r"rewards.*\[N\]"):
            estimate(table)
