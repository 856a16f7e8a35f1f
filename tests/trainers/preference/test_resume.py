"""Exact resume: train 8 = train 5 + kill -9 + resume 3, to the last bit."""

import json
import signal
from pathlib import Path

import pytest
from launched_runs import assert_equal_weights, checkpoints, launch
from resume_worker import run


WORKER = Path(__file__).with_name("resume_worker.py")


@pytest.mark.parametrize(
    "rows, lora",
    [(64, True), (20, True), (12, False)],
    ids=["within-an-epoch", "at-an-epoch-end", "across-epoch-ends-full-fine-tune"],
)
def test_killed_and_resumed_equals_uninterrupted(bundled_model_dir, tmp_path, rows, lora):
    task = {"model": bundled_model_dir, "rows": rows, "steps": 8, "lora": lora, "save_steps": 5}
    whole, cut = str(tmp_path / "whole"), str(tmp_path / "cut")
    run({**task, "output_dir": whole})
    killed = launch(WORKER, {**task, "output_dir": cut, "kill_after": 6})
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert checkpoints(cut) == ["checkpoint-5"]
    run({**task, "output_dir": cut})
    assert_equal_weights(whole, cut)
    states = [
        json.loads((Path(folder) / "checkpoint-8" / "trainer_state.json").read_text()) for folder in (whole, cut)
    ]
    losses = [[entry["loss"] for entry in state["log_history"] if "loss" in entry] for state in states]
    assert losses[0] == losses[1] and len(losses[0]) == 8


def test_two_processes_resume_exactly(bundled_model_dir, tmp_path):
    task = {"model": bundled_model_dir, "rows": 24, "steps": 8, "lora": True, "save_steps": 5}
    whole, cut = str(tmp_path / "whole"), str(tmp_path / "cut")
    finished = launch(WORKER, {**task, "output_dir": whole}, processes=2)
    assert finished.returncode == 0, finished.stderr[-3000:]
    killed = launch(WORKER, {**task, "output_dir": cut, "kill_after": 6}, processes=2)
    assert killed.returncode != 0
    assert checkpoints(cut) == ["checkpoint-5"]
    resumed = launch(WORKER, {**task, "output_dir": cut}, processes=2)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert_equal_weights(whole, cut)


def test_a_checkpoint_cut_short_is_not_resumed_from(bundled_model_dir, tmp_path):
    """A kill while a checkpoint is written leaves no folder that looks like one, and the next run clears it away."""
    from alignkit.trainers.resume import STAGING

    task = {"model": bundled_model_dir, "rows": 16, "steps": 2, "lora": True, "output_dir": str(tmp_path)}
    unfinished = tmp_path / STAGING / "checkpoint-7"
    unfinished.mkdir(parents=True)
    (unfinished / "adapter_model.safetensors").write_bytes(b"half")
    run(task)
    assert not (tmp_path / STAGING).exists()
    assert checkpoints(tmp_path) == ["checkpoint-1", "checkpoint-2"]


def test_resume_without_a_checkpoint_starts_from_the_beginning(bundled_model_dir, tmp_path, caplog):
    run({"model": bundled_model_dir, "rows": 16, "steps": 1, "lora": True, "output_dir": str(tmp_path / "new")})
    assert "no checkpoint" in caplog.text
    assert (tmp_path / "new" / "checkpoint-1" / "alignkit_run.json").exists()
