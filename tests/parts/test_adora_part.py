"""The part `adora`: the objective on the weighted rewards, with cut-off failures left out."""

import pytest
import torch
from part_batches import make_rollouts

from alignkit.objectives.advantages import adora_advantages, grpo_advantages
from alignkit.parts.advantages.adora import ADORAAdvantages, ADORAAdvantagesConfig


REWARDS, LENGTHS = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0], [10, 20, 30, 64, 50, 12, 20, 30]


def estimate(batch, **settings):
    return ADORAAdvantages(ADORAAdvantagesConfig(**settings)).estimate(batch)


@pytest.mark.parametrize("settings", [{}, {"mode": "amplify", "tau": 0.8, "prompt_weight": 3.0}])
def test_estimates_are_the_objective(settings):
    found = estimate(make_rollouts(REWARDS, 4, lengths=LENGTHS), **settings)
    named = {"weight" if key == "prompt_weight" else key: value for key, value in settings.items()}
    assert torch.equal(found.values, adora_advantages(REWARDS, 4, LENGTHS, **named))
    # One of the two prompts is chosen in either mode.
    weight = settings.get("prompt_weight", 0.1)
    assert found.metrics == pytest.approx(
        {"adora/prompt_weight_mean": (1 + weight) / 2, "adora/reweighted_prompts": 0.5}
    )


def test_a_weight_of_one_is_grpo():
    found = estimate(make_rollouts(REWARDS, 4, lengths=LENGTHS), prompt_weight=1.0)
    assert torch.equal(found.values, grpo_advantages(REWARDS, 4))


@pytest.mark.parametrize(("cut_off", "own", "chosen"), [(None, None, True), (64, None, False), (64, 100, True)])
def test_failures_as_long_as_the_longest_completion_are_left_out_of_the_mean(cut_off, own, chosen):
    # Mean failure length 38 with the cut-off one, 25 without; the success has 30.
    batch = make_rollouts(REWARDS[:4], 4, lengths=[30, 20, 30, 64], max_completion_length=cut_off)
    found = estimate(batch, max_failure_length=own)
    assert found.metrics["adora/reweighted_prompts"] == float(chosen)


def test_a_success_is_measured_on_the_weighted_sum_of_the_rewards():
    rewards = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    batch = make_rollouts(rewards, 4, lengths=[5, 9, 20, 20], weights=[1.0, 0.4])
    found = estimate(batch)
    assert torch.allclose(found.values, adora_advantages([1.0, 0.4, 0.0, 0.0], 4, [5, 9, 20, 20]), atol=1e-6)
    assert found.metrics["adora/reweighted_prompts"] == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "both"}, "`mode` is 'both'"),
        ({"prompt_weight": 2.0}, "is 2.0; valid range"),
        ({"mode": "amplify", "prompt_weight": 0.5}, "is 0.5; valid range"),
        ({"tau": 1.5}, "`tau` is 1.5"),
        ({"success_threshold": float("inf")}, "`success_threshold` is inf"),
        ({"max_failure_length": 0}, "is 0; valid range"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ADORAAdvantagesConfig(**settings)
