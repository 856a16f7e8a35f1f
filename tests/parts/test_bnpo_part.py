"""The part `bnpo`: the objective with the bounds of each reward function, and the clash with TRL's `loss_type`."""

import pytest
import torch
from part_batches import make_rollouts

from alignkit import BNPOConfig, OnlineConfig
from alignkit.errors import InputError
from alignkit.objectives.advantages import bnpo_advantages, bnpo_beta_parameters, grpo_advantages
from alignkit.parts.advantages.bnpo import BNPOAdvantages, BNPOAdvantagesConfig


REWARDS = [[1.0, -1.0], [0.0, 0.0], [0.0, -0.5], [1.0, 0.0], [0.0, 0.0], [0.0, -0.2], [0.0, 0.0], [1.0, 0.0]]
BOUNDS = {"reward_min": [0.0, -1.0], "reward_max": [1.0, 0.0]}


def part(**settings):
    return BNPOAdvantages(BNPOAdvantagesConfig(**settings))


def test_estimates_are_the_objective_with_the_bounds_of_each_reward():
    batch = make_rollouts(REWARDS, 4, names=["accuracy", "overlong"], weights=[1.0, 0.5])
    found = part(**BOUNDS).estimate(batch)
    expected = bnpo_advantages(REWARDS, 4, *BOUNDS.values(), reward_weights=[1.0, 0.5])
    assert torch.equal(found.values, expected)
    assert found.metrics["bnpo/pass_rate/accuracy"] == pytest.approx(3 / 8)
    fitted = bnpo_beta_parameters([0.5, 0.25])
    assert (found.metrics["bnpo/alpha/accuracy"], found.metrics["bnpo/beta/accuracy"]) == pytest.approx(fitted)


def test_a_fixed_flat_density_only_centres_the_rewards():
    rewards = [row[0] for row in REWARDS]
    found = part(density_alpha=1.0, density_beta=1.0).estimate(make_rollouts(rewards, 4))
    assert torch.allclose(found.values, grpo_advantages(rewards, 4, scale_rewards="none"))
    assert set(found.metrics) == {"bnpo/pass_rate/reward_0"}


def test_a_reward_outside_its_bounds_ends_the_run_and_names_the_bounds():
    with pytest.raises(InputError, match=r"advantage `bnpo`, reward functions reward_0: `rewards` row 1, column 0"):
        part().estimate(make_rollouts([1.0, 1.5, 0.0, 0.0], 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward_min": 1.0}, "`reward_max` is 1.0; it must be finite and above"),
        ({"density_alpha": 2.0}, "`density_alpha` is 2.0 and `density_beta` None; give both"),
        ({"density_alpha": 2.0, "density_beta": 0.0}, r"`density_beta` is 0.0; valid range: \(0, inf\)"),
        ({"max_density_weight": 0.0}, "is 0.0; valid range"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BNPOAdvantagesConfig(**settings)


def test_bounds_must_be_one_for_each_reward_function():
    with pytest.raises(InputError, match="`reward_min` has 2 numbers for 1 reward functions"):
        part(**BOUNDS).check_rewards(["accuracy"])
    part(**BOUNDS).check_rewards(["accuracy", "overlong"])


def settings_of(tmp_path, **changes):
    return {"output_dir": str(tmp_path), "num_generations": 4, "per_device_train_batch_size": 8, **changes}


@pytest.mark.parametrize(
    ("config_class", "changes", "warned"),
    [
        (BNPOConfig, {"loss_type": "bnpo"}, True),
        (BNPOConfig, {"policy_loss": "bnpo"}, True),
        (OnlineConfig, {"advantage": "bnpo", "loss_type": "bnpo"}, True),
        (BNPOConfig, {}, False),
        (OnlineConfig, {"loss_type": "bnpo"}, False),
    ],
)
def test_the_loss_of_that_name_is_warned_of_beside_the_advantages(tmp_path, config_class, changes, warned):
    config = config_class(**settings_of(tmp_path, **changes))
    assert any("nothing to do with Beta Normalization" in sentence for sentence in config.warnings()) is warned


def test_one_prompt_in_a_batch_is_refused_unless_the_density_is_fixed(tmp_path):
    settings = settings_of(tmp_path, num_generations=8)
    with pytest.raises(InputError, match="at least 2 are needed"):
        BNPOConfig(**settings)
    BNPOConfig(**settings, density_alpha=1.5, density_beta=1.5)
