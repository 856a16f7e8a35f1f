"""kill -9 at random moments of two-stage MPO."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mpo_runs import LORA, base_settings, distance, read_json, weights
from random_kills import kill_at_random_moments, time_of


pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("mpo_worker.py")


@pytest.mark.parametrize("own", [{}, LORA], ids=["full", "lora"])
def test_killed_at_ten_random_moments_and_resumed_equals_uninterrupted(tmp_path, pairs_file, own):
    def start(folder):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(WORKER), json.dumps({**base_settings(pairs_file, folder), **own})]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def check(folder):
        for stage in ("dpo", "rl"):
            assert distance(weights(whole / stage), weights(folder / stage)) == 0.0, stage
        assert read_json(whole / "metrics.json")["select"] == read_json(folder / "metrics.json")["select"]

    whole = tmp_path / "whole"
    duration = time_of(start, whole)
    assert kill_at_random_moments(start, tmp_path / "cut", duration, check) >= 1
