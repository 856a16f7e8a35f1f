"""What takes minutes: kill -9 at random moments, and the shipped recipes, which must make the model better."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from loop_runs import LORA, assert_same_run, base_settings, history
from random_kills import kill_at_random_moments, time_of

from alignkit.cli import main
from alignkit.config import recipe_path
from alignkit.trainers.iterative import LOOPS


pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("loop_worker.py")

DNO = {"eta": 0.5, "gold_column": "solution", "min_positive": -1000, "temperature": 1.0, "top_p": 1.0}


@pytest.mark.parametrize(
    "key, own",
    [
        ("dpo", {"beta": 0.5}),
        ("sppo", {"eta": 5.0}),
        ("inpo", {**LORA, "eta": 0.1}),
        ("dno", DNO),
        ("apo_accelerated", {**LORA, "beta": 0.5, "alpha": 0.5}),
    ],
)
def test_killed_at_ten_random_moments_and_resumed_equals_uninterrupted(tmp_path, prompts_file, key, own):
    """Same bits, and no judgement asked twice but of the one batch that a kill catches before it is on the disk."""
    fields = {**base_settings(prompts_file), **own, "num_prompts": 16}
    in_flight: dict[Path, Counter] = {}

    def start(folder):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        arguments = [key, json.dumps({**fields, "output_dir": str(folder)}), str(log_of(folder))]
        command = [sys.executable, str(WORKER), *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def remember(folder):
        in_flight.setdefault(folder, Counter()).update(asked(folder, slice(-1, None)))

    def check(folder):
        assert_same_run(whole, folder)
        repeated = asked(folder) - asked(whole)
        assert not repeated - in_flight.get(folder, Counter()), "a judgement that was on the disk was asked for again"

    whole = tmp_path / "whole"
    duration = time_of(start, whole)
    assert kill_at_random_moments(start, tmp_path / "cut", duration, check, remember) >= 1


def log_of(folder):
    return folder.with_name(f"{folder.name}.log")


def asked(folder, batches=slice(None)):
    """What the judge of a run was asked, over all its processes; of the given batches only."""
    log = log_of(folder)
    lines = log.read_text().splitlines()[batches] if log.exists() else []
    return Counter(json.dumps(item) for line in lines for item in json.loads(line))


@pytest.mark.parametrize("key", LOOPS)
def test_the_recipe_raises_the_accuracy_by_five_points_within_five_minutes(tmp_path, key):
    began = time.process_time()
    assert main(["loop", key, "--config", str(recipe_path(f"{key}-loop")), "--output_dir", str(tmp_path)]) == 0
    scores = [entry["score"] for entry in history(tmp_path)]
    assert len(scores) == 4 and scores[-1] >= scores[0] + 0.05, scores
    assert time.process_time() - began < 300


def test_a_killed_loop_leaves_no_training_process_behind_and_goes_on_from_their_checkpoint(tmp_path, prompts_file):
    fields = {**base_settings(prompts_file), "beta": 0.5, "num_iterations": 1, "num_prompts": 16}
    fields |= {"num_processes": 2, "num_train_epochs": 20, "output_dir": str(tmp_path / "run")}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(WORKER), "dpo", json.dumps(fields), str(tmp_path / "log")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    training = tmp_path / "run" / "iter_0" / "training"
    wait_for(lambda: list(training.glob("checkpoint-*")))
    assert len(training_processes(tmp_path)) >= 2
    process.kill()
    process.wait()
    wait_for(lambda: not training_processes(tmp_path), seconds=10)
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    (metrics,) = history(tmp_path / "run")[1:]
    pairs = metrics["train/pairs"]
    # Two pairs for each of two processes in an update.
    assert metrics["train/steps"] == 20 * -(-pairs // 4) and not training.exists()


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def training_processes(folder) -> list[int]:
    """Processes whose command line names the launched settings of a run in `folder`."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.startswith(str(folder)) and word.endswith("launched_settings.json") for word in words):
            found.append(process.info["pid"])
    return found
