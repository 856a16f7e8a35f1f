"""Exact resume of online training: train 6 = train 3 + kill -9 + resume 3, to the last bit."""

import json
import signal
from pathlib import Path

import pytest
from launched_runs import assert_equal_weights, checkpoints, launch
from online_worker import run

from alignkit.errors import InputError


WORKER = Path(__file__).with_name("online_worker.py")

# Steps of a generation batch, rows of the data set (2 prompts per generation batch and process).
PLACES = {
    "at-a-generation-boundary": ({"save_steps": 3}, 64),
    "within-a-generation-batch": ({"save_steps": 3, "steps_per_generation": 4, "num_iterations": 1}, 64),
    "within-a-generation-used-twice": ({"save_steps": 3, "num_iterations": 2}, 64),
    "across-an-epoch-end": ({"save_steps": 3}, 8),
    "after-several-epochs": ({"save_steps": 3}, 2),
}


def losses(folder):
    state = json.loads((Path(folder) / "checkpoint-6" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.mark.parametrize("place", PLACES)
def test_stopped_and_resumed_equals_uninterrupted(bundled_model_dir, tmp_path, place):
    config, rows = PLACES[place]
    config = {**config, "save_strategy": "steps", "beta": 0.05}
    task = {"model": bundled_model_dir, "key": "online", "rows": rows, "lora": True}
    whole, cut = str(tmp_path / "whole"), str(tmp_path / "cut")
    run({**task, "output_dir": whole, "config": {**config, "max_steps": 6}})
    (tmp_path / "cut").mkdir()
    (Path(whole) / "checkpoint-3").rename(Path(cut) / "checkpoint-3")
    run({**task, "output_dir": cut, "config": {**config, "max_steps": 6}, "resume": True})
    assert_equal_weights(whole, cut)
    assert losses(whole) == losses(cut) and len(losses(cut)) == 6


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_killed_within_a_generation_batch_and_resumed(bundled_model_dir, tmp_path, processes):
    """Across an epoch end and within a generation batch at once, with a part that has state."""
    config = {"save_strategy": "steps", "save_steps": 3, "max_steps": 6, "steps_per_generation": 2}
    config["per_device_train_batch_size"] = 4
    task = {"model": bundled_model_dir, "key": "online", "rows": 4, "lora": True, "config": config}
    whole, cut = str(tmp_path / "whole"), str(tmp_path / "cut")
    finished = launch(WORKER, {**task, "output_dir": whole}, processes)
    assert finished.returncode == 0, finished.stderr[-3000:]
    killed = launch(WORKER, {**task, "output_dir": cut, "kill_after": 4}, processes)
    assert killed.returncode == -signal.SIGKILL or (processes > 1 and killed.returncode != 0)
    assert checkpoints(cut) == ["checkpoint-3"]
    resumed = launch(WORKER, {**task, "output_dir": cut, "resume": True}, processes)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert_equal_weights(whole, cut)
    assert losses(whole) == losses(cut)


def test_a_checkpoint_of_other_parts_is_refused(bundled_model_dir, tmp_path):
    task = {"model": bundled_model_dir, "key": "online", "output_dir": str(tmp_path), "lora": True}
    config = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    run({**task, "config": config})
    with pytest.raises(InputError, match="was trained with the parts"):
        run({**task, "config": {**config, "max_steps": 2, "policy_loss": "mhpo"}, "resume": True})


def test_a_checkpoint_without_state_is_refused(bundled_model_dir, tmp_path):
    task = {"model": bundled_model_dir, "key": "online", "output_dir": str(tmp_path), "lora": True}
    config = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    run({**task, "config": config})
    (tmp_path / "checkpoint-1" / "online_state.json").unlink()
    with pytest.raises(InputError, match="online_state.json"):
        run({**task, "config": {**config, "max_steps": 2}, "resume": True})
