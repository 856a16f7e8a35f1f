"""Every advantage part with every policy-loss part: it trains, or it is refused with a reason; none crashes."""

import itertools
import math

import pytest
from online_worker import format_reward, reward, run

from alignkit.errors import InputError
from alignkit.parts.table import PARTS


# What a part needs beyond its defaults to run on this batch of two prompts.
NEEDED = {
    ("advantage", "bnpo"): {"name": "bnpo", "reward_max": 2.0},
    ("advantage", "riskpo"): {"name": "riskpo", "bundle_size": 2},
    ("advantage", "copo"): {"name": "copo", "answer_extractor": "boxed"},
    ("advantage", "apo_asymmetric"): {"name": "apo_asymmetric", "correct_reward": "reward"},
}
# TRL's losses that differ in the reduction alone: with plain GRPO by default, with every estimator in the slow suite.
REDUCTIONS = ("grpo", "dr_grpo", "bnpo", "luspo", "cispo")


def combinations():
    for advantage, loss in itertools.product(PARTS["advantage"], PARTS["policy_loss"]):
        slow = advantage != "grpo" and loss in REDUCTIONS
        yield pytest.param(advantage, loss, marks=[pytest.mark.slow] if slow else [])


def part(slot, name):
    return NEEDED.get((slot, name), name)


@pytest.mark.parametrize("advantage, loss", combinations())
def test_every_combination_trains_or_is_refused_with_a_reason(bundled_model_dir, tmp_path, advantage, loss):
    config = {
        "advantage": part("advantage", advantage),
        "policy_loss": part("policy_loss", loss),
        "max_steps": 2,
        "num_iterations": 2,
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "max_completion_length": 8,
        "self_checks": False,
        "beta": 0.001,
    }
    task = {"model": bundled_model_dir, "key": "online", "output_dir": str(tmp_path), "config": config, "rows": 8}
    try:
        trainer = run(task, reward_funcs=[reward, format_reward])
    except InputError as error:
        assert advantage in str(error) or loss in str(error)
        assert len(str(error)) > 40
        return
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2 and all(map(math.isfinite, losses))
