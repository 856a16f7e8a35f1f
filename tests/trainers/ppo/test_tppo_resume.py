"""Exact resume of T-PPO in the middle of its responses, and the refusal of a checkpoint that does not fit."""

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
    "window_length": 5,
    "num_generations": 1,
    "per_device_train_batch_size": 4,
    "max_completion_length": 18,
    "num_iterations": 2,  # checkpoint-3 lies within a window's updates
    "temperature": 1.5,
    "save_strategy": "steps",
    "save_steps": 3,
    "max_steps": 8,
    "critic_learning_rate": 1e-2,
    "self_checks": False,
}


def task_of(model, folder, **changes):
    config = {**CONFIG, **changes}
    return {"model": model, "key": "tppo", "rows": 8, "lora": True, "output_dir": str(folder), "config": config}


def slots_of(folder):
    return json.loads((Path(folder) / "tppo_slots.json").read_text())


def assert_equal_runs(left, right):
    """The same policy, critic, slots and log, to the last bit."""
    assert_equal_weights(left, right)
    left, right = (Path(folder) / "checkpoint-8" for folder in (left, right))
    critics = [load_file(folder / "critic.safetensors") for folder in (left, right)]
    assert all(torch.equal(critics[0][name], critics[1][name]) for name in critics[0])
    assert slots_of(left) == slots_of(right)
    logs = [json.loads((folder / "trainer_state.json").read_text())["log_history"] for folder in (left, right)]
    for ours, theirs in zip(*logs, strict=True):
        assert ours | {"step_time": 0} == theirs | {"step_time": 0}


def test_stopped_in_mid_response_and_resumed_equals_uninterrupted(bundled_model_dir, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(task_of(bundled_model_dir, whole))
    cut.mkdir()
    (whole / "checkpoint-3").rename(cut / "checkpoint-3")
    cut_slots = slots_of(cut / "checkpoint-3")["slots"]
    assert any(slot["completion_ids"] for slot in cut_slots)
    run({**task_of(bundled_model_dir, cut), "resume": True})
    assert_equal_runs(whole, cut)
    assert slots_of(whole / "checkpoint-8")["taken"] > slots_of(cut / "checkpoint-3")["taken"]


@pytest.mark.slow
def test_two_killed_processes_go_on_with_their_slots(bundled_model_dir, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finished = launch(WORKER, task_of(bundled_model_dir, whole), 2)
    assert finished.returncode == 0, finished.stderr[-3000:]
    state = slots_of(whole / "checkpoint-8")
    places = [slot["place"] for slot in state["slots"]]
    assert len(set(places)) == 8 and max(places) == state["taken"] - 1
    killed = launch(WORKER, {**task_of(bundled_model_dir, cut), "kill_after": 4}, 2)
    assert killed.returncode not in (0, signal.SIGTERM) and checkpoints(cut) == ["checkpoint-3"]
    resumed = launch(WORKER, {**task_of(bundled_model_dir, cut), "resume": True}, 2)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert_equal_runs(whole, cut)


def test_a_checkpoint_with_other_slots_or_prompts_is_refused(bundled_model_dir, tmp_path):
    short = {"save_steps": 1, "max_steps": 1, "num_iterations": 1}
    run(task_of(bundled_model_dir, tmp_path, **short))
    short["max_steps"] = 2
    with pytest.raises(InputError, match="holds 4 slots, this run has 2"):
        run({**task_of(bundled_model_dir, tmp_path, per_device_train_batch_size=2, **short), "resume": True})
    with pytest.raises(InputError, match="the data set, its shuffling or the seed has changed"):
        run({**task_of(bundled_model_dir, tmp_path, shuffle_dataset=False, **short), "resume": True})
    (tmp_path / "checkpoint-1" / "tppo_slots.json").unlink()
    with pytest.raises(InputError, match="was not written by T-PPO"):
        run({**task_of(bundled_model_dir, tmp_path, **short), "resume": True})
