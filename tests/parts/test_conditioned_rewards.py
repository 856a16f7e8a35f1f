"""The reward shaping `conditioned`: the easy reward counts only where the hard one is reached."""

import math

import pytest
import torch
from part_batches import make_rollouts

from alignkit.errors import InputError
from alignkit.parts.reward_shaping.conditioned import ConditionedRewards, ConditionedRewardsConfig


NAMES = ["brevity", "accuracy", "style"]
REWARDS = [[0.9, 1.0, 0.1], [0.8, 0.0, 0.2], [0.7, 0.5, 0.3], [0.6, math.nan, 0.4]]


def shape(**settings):
    part = ConditionedRewards(ConditionedRewardsConfig(target="brevity", condition="accuracy", **settings))
    part.check_rewards(NAMES)
    batch = make_rollouts(REWARDS, 4, names=NAMES)
    before = batch.rewards.clone()
    shaped = part.shape(batch)
    assert torch.equal(batch.rewards.nan_to_num(-1), before.nan_to_num(-1))
    return shaped


def test_the_easy_reward_is_zero_below_the_threshold_and_missing_where_the_hard_one_is():
    shaped = shape()
    assert shaped[:3, 0].tolist() == [0.9, 0.0, 0.0] and shaped[3, 0].isnan()
    assert torch.equal(shaped[:, 2], torch.tensor(REWARDS, dtype=torch.float64)[:, 2])


def test_the_threshold_itself_is_reached():
    assert shape(threshold=0.5)[:3, 0].tolist() == [0.9, 0.0, 0.7]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"condition": "accuracy"}, "`target` is missing"),
        ({"target": "brevity"}, "`condition` is missing"),
        ({"target": "brevity", "condition": "brevity"}, "`condition` is 'brevity', the `target` itself"),
        ({"target": "brevity", "condition": "accuracy", "threshold": math.inf}, "`threshold` is inf"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ConditionedRewardsConfig(**settings)


@pytest.mark.parametrize("names", [["brevity", "style"], ["brevity", "accuracy", "accuracy"]])
def test_a_name_that_is_not_one_reward_function_is_refused(names):
    part = ConditionedRewards(ConditionedRewardsConfig(target="brevity", condition="accuracy"))
    with pytest.raises(InputError, match=r"`condition` is 'accuracy'; it must name one of the reward functions"):
        part.check_rewards(names)
