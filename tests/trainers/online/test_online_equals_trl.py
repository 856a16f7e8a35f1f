"""With every slot empty and no prompt shared the trainer is `trl.GRPOTrainer`, to the last bit."""

from pathlib import Path

import pytest
from launched_runs import assert_equal_weights, launch
from model_weights import largest_difference
from online_worker import run

from alignkit.objectives.policy import grpo_loss
from alignkit.parts.policy_losses.base import PolicyLoss
from alignkit.parts.table import PARTS


OFF = {"shared_prefix": "off"}
WORKER = Path(__file__).with_name("online_worker.py")
SAME = ("loss", "grad_norm", "reward", "reward_std", "frac_reward_zero_std", "entropy", "completions/mean_length")


@pytest.mark.parametrize(
    "config, lora",
    [
        ({}, False),
        ({"beta": 0.1}, False),
        ({"beta": 0.1, "loss_type": "grpo"}, True),
        ({"loss_type": "dr_grpo", "steps_per_generation": 2, "gradient_accumulation_steps": 2}, True),
        ({"loss_type": "grpo", "num_iterations": 2, "max_steps": 4}, False),
    ],
    ids=["dapo", "dapo-kl", "grpo-kl-lora", "dr_grpo-accumulated-lora", "grpo-two-iterations"],
)
def test_default_parts_equal_trl(bundled_model_dir, tmp_path, config, lora):
    task = {"model": bundled_model_dir, "config": config, "lora": lora, "output_dir": str(tmp_path)}
    theirs, ours = run({**task, "key": "trl"}), run({**task, "key": "online", "config": {**config, **OFF}})
    assert largest_difference(theirs.model, ours.model) == 0.0
    logs = [[entry for entry in trainer.state.log_history if "loss" in entry] for trainer in (theirs, ours)]
    assert len(logs[0]) == len(logs[1]) > 0
    for left, right in zip(*logs, strict=True):
        assert {name: left.get(name) for name in SAME} == {name: right.get(name) for name in SAME}


def test_the_order_of_later_epochs_is_that_of_trl(bundled_model_dir, tmp_path):
    task, config = {"model": bundled_model_dir, "rows": 4, "output_dir": str(tmp_path)}, {"max_steps": 5}
    theirs = run({**task, "key": "trl", "config": config})
    ours = run({**task, "key": "online", "config": {**config, **OFF}})
    assert largest_difference(theirs.model, ours.model) == 0.0


def test_two_processes_equal_trl(bundled_model_dir, tmp_path):
    task = {"model": bundled_model_dir, "lora": True}
    for key, own in {"trl": {}, "online": OFF}.items():
        config = {"beta": 0.05, **own}
        finished = launch(
            WORKER, {**task, "key": key, "config": config, "output_dir": str(tmp_path / key)}, processes=2
        )
        assert finished.returncode == 0, finished.stderr[-3000:]
    assert_equal_weights(tmp_path / "trl", tmp_path / "online")


class Plugged(PolicyLoss):
    def token_loss(self, batch):
        return grpo_loss(batch.logps, batch.old_logps, batch.advantages, batch.mask)


@pytest.mark.parametrize("loss", ["dapo", "grpo", "dr_grpo", "bnpo"])
def test_a_part_that_computes_trls_loss_equals_trl(bundled_model_dir, tmp_path, loss, monkeypatch):
    """The seam of the loss: GRPO's loss plugged in as an own part, KL and accumulation included."""
    monkeypatch.setitem(PARTS["policy_loss"], "plugged", f"{__name__}:Plugged")
    config = {
        "beta": 0.1,
        "steps_per_generation": 4,
        "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 4,
        "max_steps": 4,
    }
    task = {"model": bundled_model_dir, "output_dir": str(tmp_path)}
    theirs = run({**task, "key": "trl", "config": {**config, "loss_type": loss}})
    own = {"policy_loss": {"name": "plugged", "aggregation": loss}, **OFF}
    ours = run({**task, "key": "online", "config": {**config, **own}})
    assert largest_difference(theirs.model, ours.model) < 2e-6
    kl = [[entry["kl"] for entry in trainer.state.log_history if "kl" in entry] for trainer in (theirs, ours)]
    assert kl[0] == pytest.approx(kl[1], abs=1e-6) and max(kl[0]) > 0
