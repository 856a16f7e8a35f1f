"""DCPO's coefficient and token advantages."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_tables import few, lengths_of, mask_of, rewards_of, seeds

from alignkit.objectives.advantages import dcpo_advantages, dcpo_coefficient, grpo_advantages


def logps_of(seed):
    generator = torch.Generator().manual_seed(seed)
    return -torch.rand(2, 16, 20, generator=generator, dtype=torch.float64)


@given(seed=seeds)
@few
def test_a_coefficient_of_zero_gives_grpo_with_the_same_eps(seed):
    rewards, mask, (old, target) = rewards_of(seed), mask_of(lengths_of(seed)), logps_of(seed)
    advantages = dcpo_advantages(rewards, 4, old, target, mask, coefficient=0.0)
    expected = torch.where(mask, grpo_advantages(rewards, 4, eps=1e-6)[:, None], 0.0)
    assert torch.equal(advantages, expected)


@given(seed=seeds, coefficient=st.floats(0.0, 0.95))
@few
def test_positive_samples_get_the_target_ratio_and_the_others_less_of_grpo(seed, coefficient):
    rewards, mask, (old, target) = rewards_of(seed, binary=True), mask_of(lengths_of(seed)), logps_of(seed)
    advantages = dcpo_advantages(rewards, 4, old, target, mask, coefficient)
    group = (1 - coefficient) * grpo_advantages(rewards, 4, eps=1e-6)[:, None]
    expected = torch.where(rewards[:, None] == 1, group + coefficient * (target - old).exp(), group)
    torch.testing.assert_close(advantages, torch.where(mask, expected, 0.0))


def test_a_target_temperature_of_one_has_a_ratio_of_one_and_all_correct_groups_still_push():
    old = logps_of(0)[0]
    advantages = dcpo_advantages(torch.ones(16), 4, old, old, torch.ones(16, 20), coefficient=0.25)
    assert torch.equal(advantages, torch.full_like(advantages, 0.25))


@given(seed=seeds, temperature=st.sampled_from([0.5, 0.8, 1.2, 2.0]))
@few
def test_the_target_ratio_averages_to_one_and_moves_the_entropy_as_the_temperature_says(seed, temperature):
    logits = torch.randn(9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    old, target = logits.log_softmax(0), (logits / temperature).log_softmax(0)
    advantages = dcpo_advantages(
        torch.ones(9), 9, old[:, None], target[:, None], torch.ones(9, 1), coefficient=0.5, reward_threshold=0.0
    )
    ratio = 2 * advantages[:, 0]
    assert (old.exp() * ratio).sum().item() == pytest.approx(1)
    order = old.argsort()
    assert ((ratio[order].diff() < 0) == (temperature > 1)).all()
    # The policy gradient of this term in logit space is target - old.
    step = (logits + 1e-4 * (target.exp() - old.exp())).log_softmax(0)

    def entropy(logps):
        return -(logps.exp() * logps).sum()

    assert (entropy(step) > entropy(old)) == (temperature > 1)


def test_the_coefficient_saturates_stays_below_one_and_vanishes_at_the_target():
    assert dcpo_coefficient(0.25, 0.5) == 0
    assert dcpo_coefficient(5.0, 0.5) == dcpo_coefficient(0.35 + 1e-9, 0.5) == pytest.approx(0.1 / 0.6)
    assert dcpo_coefficient(0.15, 0.5) == pytest.approx(dcpo_coefficient(0.35, 0.5))
    assert dcpo_coefficient(5.0, 1e-6) < 1
    assert dcpo_coefficient(5.0, 0.0) == 0


@given(entropy=st.floats(0.0, 3.0), rate=st.floats(1e-4, 1.0))
@few
def test_the_coefficient_is_lambda_over_one_plus_lambda(entropy, rate):
    weight = min(abs(0.25 - entropy), 0.1) / rate
    assert dcpo_coefficient(entropy, rate) == pytest.approx(weight / (1 + weight))


def test_a_row_without_any_reward_is_left_out_of_its_group_and_partly_missing_ones_count():
    nan = math.nan
    rewards = torch.tensor([[1.0, nan], [nan, 0.0], [nan, nan]], dtype=torch.float64)
    logps = torch.zeros(3, 1)
    advantages = dcpo_advantages(rewards, 3, logps, logps, torch.ones(3, 1), 0.5, eps=0.0)
    half = 0.5**0.5
    assert advantages.flatten().tolist() == pytest.approx([0.5 * half + 0.5, -0.5 * half, 0.0])


def test_rubbish_and_extremes_of_the_log_probabilities():
    old, target = torch.tensor([[-200.0, math.nan]]), torch.tensor([[-1.0, math.inf]])
    advantages = dcpo_advantages([1.0], 1, old, target, [[1, 0]], 0.5)
    assert advantages.isfinite().all() and advantages[0, 1] == 0


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("entropy", {"entropy": math.nan}),
        ("positive_rate", {"positive_rate": 1.2}),
        ("positive_rate", {"positive_rate": math.nan}),
        ("target_entropy", {"target_entropy": -0.1}),
        ("max_gap", {"max_gap": -0.1}),
    ],
)
def test_bad_coefficient_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        dcpo_coefficient(**{"entropy": 0.3, "positive_rate": 0.5, **kwargs})


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("coefficient", {"coefficient": 1.0}),
        ("coefficient", {"coefficient": -0.1}),
        ("reward_threshold", {"reward_threshold": math.inf}),
        ("target_logps", {"target_logps": [[0.0, 0.0]]}),
        ("mask", {"mask": [[1], [1], [1]]}),
        ("old_logps", {"rewards": [0.0, 1.0, 1.0]}),
    ],
)
def test_bad_advantage_arguments_are_refused_by_name(match, kwargs):
    arguments = {
        "rewards": [0.0, 1.0],
        "num_generations": 2,
        "old_logps": [[0.0], [0.0]],
        "target_logps": [[0.0], [0.0]],
        "mask": [[1], [1]],
        "coefficient": 0.2,
    }
    with pytest.raises(ValueError, match=match):
        dcpo_advantages(**{**arguments, **kwargs})
