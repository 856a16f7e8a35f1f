"""The part `gdpo`: TRL's own path by default, the objective otherwise, and what it warns of."""

import pytest
import torch
from part_batches import make_rollouts

from alignkit import OnlineConfig
from alignkit.errors import InputError
from alignkit.objectives.advantages import gdpo_advantages
from alignkit.parts.advantages.gdpo import GDPOAdvantages, GDPOAdvantagesConfig


REWARDS = [[0.0, 0.3], [1.0, 0.1], [0.0, 0.9], [1.0, 0.2], [0.0, 0.5], [0.0, 0.4], [1.0, 0.0], [float("nan"), 0.8]]


def part(**settings):
    return GDPOAdvantages(GDPOAdvantagesConfig(**settings))


@pytest.mark.parametrize("settings", [{"batch_normalize": False}, {"std_eps": 1e-6}])
def test_estimates_are_the_objective_with_the_weights_of_trl(settings):
    estimator = part(**settings)
    assert estimator.own
    found = estimator.estimate(make_rollouts(REWARDS, 4, weights=[1.0, 0.25])).values
    expected = gdpo_advantages(
        REWARDS, 4, [1.0, 0.25], settings.get("batch_normalize", True), settings.get("std_eps", 1e-4)
    )
    assert torch.equal(found, expected)


def test_with_the_defaults_trl_computes_it(tmp_path):
    assert not part().own
    config = OnlineConfig(output_dir=str(tmp_path), advantage="gdpo")
    assert config.multi_objective_aggregation == "normalize_then_sum"


@pytest.mark.parametrize("value", [0.0, -1e-4, float("nan")])
def test_an_epsilon_that_is_not_above_zero_is_refused(value):
    with pytest.raises(ValueError, match=r"`std_eps` is .*; valid range: \(0"):
        GDPOAdvantagesConfig(std_eps=value)


@pytest.mark.parametrize(
    ("field", "value"), [("scale_rewards", "batch"), ("multi_objective_aggregation", "something_else")]
)
def test_fields_that_it_decides_or_ignores_are_refused(tmp_path, field, value):
    with pytest.raises(InputError, match=f"`{field}` is '{value}', which does not go with advantage `gdpo`"):
        OnlineConfig(output_dir=str(tmp_path), advantage="gdpo", **{field: value})


@pytest.mark.parametrize(("generations", "warned"), [(2, True), (4, False)])
def test_two_generations_are_warned_of(tmp_path, generations, warned):
    config = OnlineConfig(output_dir=str(tmp_path), advantage="gdpo", num_generations=generations)
    assert any("keeps only which of the two completions" in sentence for sentence in config.warnings()) is warned


@pytest.mark.parametrize(("names", "warned"), [(["accuracy"], True), (["accuracy", "format"], False), (None, False)])
def test_a_single_reward_function_is_warned_of(tmp_path, names, warned):
    config = OnlineConfig(output_dir=str(tmp_path), advantage="gdpo", reward_funcs=names)
    assert any("that is GRPO times a factor of the batch" in sentence for sentence in config.warnings()) is warned
