"""What takes minutes: kill -9 at random moments, and the shipped recipes, which must make the model better."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from loop_runs import LORA, assert_same_run, base_settings, history

from alignkit.cli import main
from alignkit.config import recipe_path
from alignkit.trainers.iterative import LOOPS


pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("loop_worker.py")


def start(key, fields, log):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parent)}
    command = [sys.executable, str(WORKER), key, json.dumps(fields), str(log)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def asked(log):
    return Counter(log.read_text().splitlines())


@pytest.mark.parametrize(
    "key, own", [("dpo", {"beta": 0.5}), ("apo_accelerated", {**LORA, "beta": 0.5, "alpha": 0.5})]
)
def test_killed_at_ten_random_moments_and_resumed_equals_uninterrupted(tmp_path, prompts_file, key, own):
    """Same bits, and no judgement asked twice but those that a kill caught before they were on the disk."""
    fields = {**base_settings(prompts_file), **own, "num_prompts": 16}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    began = time.monotonic()
    assert start(key, {**fields, "output_dir": str(whole)}, tmp_path / "whole.log").wait() == 0
    duration = time.monotonic() - began
    rng, kills, lost = random.Random(0), 0, Counter()
    while kills < 10:
        process = start(key, {**fields, "output_dir": str(cut)}, tmp_path / "cut.log")
        try:
            # Late enough that most processes get past their imports, early enough that ten kills are needed.
            process.wait(timeout=duration * rng.uniform(0.15, 0.6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            # Finished before ten kills: begin again, so that ten moments are tried.
            assert_same_run(whole, cut)
            (tmp_path / "cut.log").rename(tmp_path / f"cut-{kills}.log")
            cut = tmp_path / f"cut-{kills}"
            continue
        kills += 1
        lost.update(caught(tmp_path / "cut.log", cut))
    while start(key, {**fields, "output_dir": str(cut)}, tmp_path / "cut.log").wait() != 0:
        continue
    assert_same_run(whole, cut)
    repeated = asked(tmp_path / "cut.log") - asked(tmp_path / "whole.log")
    assert not repeated - lost, "a judgement that was on the disk was asked for again"


def caught(log, folder):
    """What the judge was asked and no file of the run holds yet."""
    if not log.exists():
        return Counter()
    written = Counter()
    prompts = {}
    for path in folder.glob("iter_*/prompts.jsonl"):
        prompts.update({row["prompt_id"]: row["prompt"] for row in map(json.loads, path.read_text().splitlines())})
    for responses in folder.glob("iter_*/responses.jsonl"):
        rows = [json.loads(line) for line in responses.read_text().splitlines()]
        partial = responses.with_name("judgements.partial.jsonl")
        known = {row["prompt_id"] for row in rows} if responses.with_name("judgements.npz").exists() else set()
        if partial.exists():
            known |= {json.loads(line)["prompt_id"] for line in partial.read_text().splitlines() if line.endswith("}")}
        written.update(json.dumps([prompts[r["prompt_id"]], r["text"]]) for r in rows if r["prompt_id"] in known)
    return asked(log) - written


@pytest.mark.parametrize("key", LOOPS)
def test_the_recipe_raises_the_accuracy_by_five_points_within_five_minutes(tmp_path, key):
    began = time.process_time()
    assert main(["loop", key, "--config", str(recipe_path(f"{key}-loop")), "--output_dir", str(tmp_path)]) == 0
    scores = [entry["score"] for entry in history(tmp_path)]
    assert len(scores) == 4 and scores[-1] >= scores[0] + 0.05, scores
    assert time.process_time() - began < 300
