"""The advantage part `dcpo`: a controller on the entropy of the sampled tokens."""

import json
import logging

import pytest
import torch
from part_batches import make_rollouts, make_tokens

from alignkit.errors import InputError
from alignkit.objectives.advantages import dcpo_advantages, dcpo_coefficient, grpo_advantages
from alignkit.parts.advantages.dcpo import DCPOAdvantages, DCPOAdvantagesConfig
from alignkit.trainers.online.dcpo import DCPOConfig


REWARDS = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def rollouts(rewards=REWARDS, surprise=0.5, asked=None, **changes):
    """A generation batch whose tokens all have a log-probability of -`surprise`, tempered or not."""

    def tempered(temperature):
        if asked is not None:
            asked.append(temperature)
        return torch.full((8, 3), -surprise / temperature, dtype=torch.float64)

    load = {"old_logps": lambda: torch.full((8, 3), -surprise, dtype=torch.float64), "tempered_logps": tempered}
    return make_rollouts(rewards, num_generations=4, lengths=[3, 3, 2, 1, 3, 3, 3, 3], load=load, **changes)


def part(**settings):
    return DCPOAdvantages(DCPOAdvantagesConfig(**settings))


def test_the_entropy_of_the_last_updates_steers_the_next_batch():
    estimator, asked = part(), []
    first, second = make_tokens(seed=1), make_tokens(seed=2)
    for batch in (first, second):
        estimator.observe(batch)
    tokens = torch.cat([batch.logps[batch.mask] for batch in (first, second)])
    entropy = -tokens.mean().item()
    result = estimator.estimate(rollouts(asked=asked))
    assert result.metrics["dcpo/entropy"] == pytest.approx(entropy) and entropy > 0.25
    assert asked == [0.8] and result.metrics["dcpo/temperature"] == 0.8
    assert result.metrics["dcpo/positive_rate"] == 0.75
    alpha = dcpo_coefficient(entropy, 0.75)
    assert result.metrics["dcpo/alpha"] == alpha > 0
    batch = rollouts()
    expected = dcpo_advantages(batch.totals, 4, batch.old_logps, batch.tempered_logps(0.8), batch.mask, alpha)
    assert torch.equal(result.values, expected)
    # What was observed is used once; without another update the entropy stays.
    assert estimator.estimate(rollouts()).metrics["dcpo/entropy"] == pytest.approx(entropy)


def test_before_the_first_update_the_entropy_is_that_of_the_batch_itself():
    estimator, asked = part(), []
    assert estimator.estimate(rollouts(surprise=0.1, asked=asked)).metrics["dcpo/entropy"] == pytest.approx(0.1)
    assert asked == [1.2] and estimator.entropy is None


def test_sums_of_all_processes_are_observed():
    batches, sent = [make_tokens(seed=1), make_tokens(seed=2)], []
    for batch in batches:
        batch.reduce_sum = lambda sums: sent.append(sums) or sums
        part().observe(batch)
    states = []
    for batch in batches:
        batch.reduce_sum = lambda sums: sent[0] + sent[1]
        estimator = part()
        estimator.observe(batch)
        states.append(estimator.state_dict())
    assert states[0] == states[1] and states[0]["tokens"] == sum(int(batch.mask.sum()) for batch in batches)


def test_evaluation_changes_no_state():
    estimator = part()
    estimator.observe(make_tokens())
    before = estimator.state_dict()
    estimator.estimate(rollouts(training=False))
    assert estimator.state_dict() == before


def test_state_survives_json():
    estimator, restored = part(), part()
    estimator.observe(make_tokens())
    estimator.estimate(rollouts())
    estimator.observe(make_tokens(seed=3))
    restored.load_state_dict(json.loads(json.dumps(estimator.state_dict())))
    assert restored.estimate(rollouts()).metrics == estimator.estimate(rollouts()).metrics


@pytest.mark.parametrize(
    "settings, rewards, surprise",
    [({"max_gap": 0.0}, REWARDS, 0.5), ({}, [0.0] * 8, 0.5), ({"target_entropy": 0.5}, REWARDS, 0.5)],
    ids=["no gap counts", "no positive sample", "at the target"],
)
def test_without_weight_the_advantages_are_grpos_and_no_forward_pass_is_paid(settings, rewards, surprise):
    asked = []
    batch = rollouts(rewards, surprise, asked)
    result = part(**settings).estimate(batch)
    expected = torch.where(batch.mask, grpo_advantages(rewards, 4, eps=1e-6)[:, None], 0.0)
    assert torch.equal(result.values, expected) and asked == []


def test_all_correct_groups_still_push():
    values = part().estimate(rollouts([1.0] * 8)).values
    assert (values[rollouts().mask] > 0).all()


@pytest.mark.parametrize("rewards", [[0.0, -1.0] * 4, [0.0, 2.0] * 4, [[1.0, 0.1]] * 8])
def test_rewards_that_the_threshold_may_not_fit_are_warned_of_once(rewards, caplog):
    estimator = part()
    with caplog.at_level(logging.WARNING):
        estimator.estimate(rollouts(rewards))
        estimator.estimate(rollouts(rewards))
    assert [record.name for record in caplog.records] == ["alignkit.parts.advantages.dcpo"]
    assert "reward_threshold" in caplog.text


def test_rewards_between_zero_and_one_are_not_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        part().estimate(rollouts())
    assert not caplog.records


@pytest.mark.parametrize(
    "field, value",
    [
        ("entropy_coef", 0.01),
        ("use_adaptive_entropy", True),
        ("scale_rewards", "batch"),
        ("target_entropy", -0.1),
        ("temperature_high", 0.9),
        ("temperature_low", 1.1),
        ("max_gap", -1.0),
        ("reward_threshold", float("nan")),
    ],
)
def test_what_does_not_go_with_it_is_refused(tmp_path, field, value):
    with pytest.raises(InputError, match=field):
        DCPOConfig(output_dir=str(tmp_path), bf16=False, **{field: value})


def test_the_defaults_are_a_token_mean_with_the_dual_clip(tmp_path):
    config = DCPOConfig(output_dir=str(tmp_path), bf16=False)
    assert (config.loss_type, config.epsilon, config.delta) == ("dapo", 0.2, 3.0)
