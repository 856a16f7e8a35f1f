"""BAPO in training."""

import math

from model_weights import largest_difference
from online_worker import run


REUSED = {"num_iterations": 2, "max_steps": 2, "logging_steps": 1}


def test_with_a_target_of_zero_it_trains_as_grpo(bundled_model_dir, tmp_path):
    task = {"model": bundled_model_dir, "output_dir": str(tmp_path), "lora": True}
    grpo = run({**task, "key": "online", "config": REUSED})
    fixed = {"target": 0.0, "low_start": 0.8, "high_start": 1.2}
    assert largest_difference(grpo.model, run({**task, "key": "bapo", "config": {**REUSED, **fixed}}).model) < 1e-6


def test_bounds_and_share_are_logged_and_the_search_reaches_its_end(bundled_model_dir, tmp_path):
    config = {**REUSED, "target": 0.99, "learning_rate": 2e-2}
    task = {"model": bundled_model_dir, "key": "bapo", "output_dir": str(tmp_path), "lora": True, "config": config}
    logs = [entry for entry in run(task).state.log_history if "loss" in entry]
    assert len(logs) == 2 and all(math.isfinite(entry["loss"]) for entry in logs)
    for entry in logs:
        assert abs(entry["bapo/low"] - 0.9) < 1e-6 and abs(entry["bapo/high"] - 3.0) < 1e-6
        assert 0 < entry["bapo/positive_share"] < 0.99
    clipped = [entry["bapo/clipped_low"] + entry["bapo/clipped_high"] for entry in logs]
    assert clipped[0] == 0 < clipped[1]
