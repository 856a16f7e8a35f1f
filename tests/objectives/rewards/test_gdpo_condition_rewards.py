"""GDPO's conditioned rewards."""

import math

import pytest
import torch

from alignkit.objectives.rewards import gdpo_condition_rewards


def test_the_easy_reward_counts_only_from_the_threshold_on():
    rewards = torch.tensor([[0.5, 7.0, 1.0], [0.4, 7.0, 1.0], [math.nan, 7.0, 1.0], [0.9, math.nan, 1.0]])
    before = rewards.clone()
    conditioned = gdpo_condition_rewards(rewards, target=1, condition=0, threshold=0.5)
    expected = torch.tensor([[0.5, 7.0, 1.0], [0.4, 0.0, 1.0], [math.nan, math.nan, 1.0], [0.9, math.nan, 1.0]])
    torch.testing.assert_close(conditioned, expected, equal_nan=True)
    torch.testing.assert_close(rewards, before, equal_nan=True)


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("condition", {"condition": 1}),
        ("condition", {"condition": 2}),
        ("target", {"target": -1}),
        ("threshold", {"threshold": math.nan}),
        ("rewards", {"rewards": [1.0, 2.0]}),
    ],
)
def test_bad_arguments_are_refused_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        gdpo_condition_rewards(**{"rewards": [[0.0, 1.0]], "target": 1, "condition": 0, "threshold": 0.5, **kwargs})
