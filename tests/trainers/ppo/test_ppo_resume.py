"""Exact resume of PPO: policy, critic, both optimizers and schedules, and the adaptive KL weight, to the last bit."""

import json
import signal
from pathlib import Path

import pytest
import torch
from launched_runs import assert_equal_weights, checkpoints, launch
from online_worker import run
from safetensors.torch import load_file

from alignkit.errors import InputError


WORKER = Path(__file__).parents[1] / "online" / "online_worker.py"
CONFIG = {
    "num_generations": 1,
    "per_device_train_batch_size": 4,
    "max_completion_length": 16,
    "num_iterations": 2,  # checkpoint-3 lies within a generation batch
    "save_strategy": "steps",
    "save_steps": 3,
    "max_steps": 6,
    "warmup_steps": 2,
    "lr_scheduler_type": "cosine",
    "critic_learning_rate": 1e-2,
    "kl_target": 0.01,
    "kl_horizon": 20.0,
    "self_checks": False,
}


def task_of(model, folder, critic, lora, key="ppo", **changes):
    config = {**CONFIG, "critic": critic, **changes}
    return {"model": model, "key": key, "rows": 8, "lora": lora, "output_dir": str(folder), "config": config}


def assert_equal_runs(left, right):
    """The same policy, critic, optimizer states and log, to the last bit."""
    assert_equal_weights(left, right)
    left, right = (Path(folder) / "checkpoint-6" for folder in (left, right))
    critics = [load_file(folder / "critic.safetensors") for folder in (left, right)]
    assert critics[0].keys() == critics[1].keys()
    assert all(torch.equal(critics[0][name], critics[1][name]) for name in critics[0])
    states = [torch.load(folder / "critic_optimizer.pt", weights_only=True) for folder in (left, right)]
    assert states[0]["scheduler"] == states[1]["scheduler"]
    for key, moments in states[0]["optimizer"]["state"].items():
        assert all(torch.equal(moments[name], states[1]["optimizer"]["state"][key][name]) for name in moments)
    logs = [json.loads((folder / "trainer_state.json").read_text())["log_history"] for folder in (left, right)]
    for ours, theirs in zip(*logs, strict=True):
        assert {key: value for key, value in ours.items() if key != "step_time"} == {
            key: value for key, value in theirs.items() if key != "step_time"
        }
    assert len({entry["objective/kl_coef"] for entry in logs[0] if "objective/kl_coef" in entry}) > 1
    assert len({entry["value/learning_rate"] for entry in logs[0] if "value/learning_rate" in entry}) > 3


@pytest.mark.parametrize("critic, lora", [("separate", False), ("shared_head", True), ("adapter", True)])
def test_stopped_and_resumed_equals_uninterrupted(bundled_model_dir, tmp_path, critic, lora):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(task_of(bundled_model_dir, whole, critic, lora))
    cut.mkdir()
    (whole / "checkpoint-3").rename(cut / "checkpoint-3")
    assert not (cut / "checkpoint-3" / "critic").exists()
    run({**task_of(bundled_model_dir, cut, critic, lora), "resume": True})
    assert_equal_runs(whole, cut)


def test_rto_stopped_and_resumed_equals_uninterrupted(bundled_model_dir, tmp_path, adapter):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    more = {"key": "rto", "dpo_model": adapter()}
    run(task_of(bundled_model_dir, whole, "adapter", True, **more))
    cut.mkdir()
    (whole / "checkpoint-3").rename(cut / "checkpoint-3")
    assert not (cut / "checkpoint-3" / "dpo").exists()
    run({**task_of(bundled_model_dir, cut, "adapter", True, **more), "resume": True})
    assert_equal_runs(whole, cut)


@pytest.mark.slow
@pytest.mark.parametrize("processes, critic", [(2, "adapter"), (1, "separate"), (2, "separate")])
def test_killed_and_resumed_equals_uninterrupted(bundled_model_dir, tmp_path, processes, critic):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    lora = critic == "adapter"
    finished = launch(WORKER, task_of(bundled_model_dir, whole, critic, lora), processes)
    assert finished.returncode == 0, finished.stderr[-3000:]
    task = task_of(bundled_model_dir, cut, critic, lora)
    killed = launch(WORKER, {**task, "kill_after": 4}, processes)
    assert killed.returncode == -signal.SIGKILL or (processes > 1 and killed.returncode != 0)
    assert checkpoints(cut) == ["checkpoint-3"]
    resumed = launch(WORKER, {**task, "resume": True}, processes)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert_equal_runs(whole, cut)


def test_a_checkpoint_of_another_critic_is_refused(bundled_model_dir, tmp_path):
    short = {"save_steps": 1, "max_steps": 1}
    run(task_of(bundled_model_dir, tmp_path, "adapter", True, **short))
    with pytest.raises(InputError, match="trained with critic 'adapter', this run has 'shared_head'"):
        run({**task_of(bundled_model_dir, tmp_path, "shared_head", True, max_steps=2), "resume": True})
    (tmp_path / "checkpoint-1" / "critic.safetensors").unlink()
    with pytest.raises(InputError, match="has no critic.safetensors"):
        run({**task_of(bundled_model_dir, tmp_path, "adapter", True, max_steps=2), "resume": True})
