"""One global batch gives one set of advantages, whether one process holds it or two, groups straddling them."""

import json
import math
from pathlib import Path

import pytest
from launched_runs import launch
from same_batch_worker import run

from alignkit.parts.rollout import Origin
from alignkit.parts.table import PARTS


WORKER = Path(__file__).with_name("same_batch_worker.py")
SETTINGS = {
    "bnpo": {"advantage": {"name": "bnpo", "reward_max": 2.0}},
    "gdpo": {"advantage": {"name": "gdpo", "batch_normalize": False}},
    "riskpo": {"advantage": {"name": "riskpo", "bundle_size": 3}},
    "copo": {"advantage": {"name": "copo", "answer_extractor": "boxed"}, "policy_loss": "copo"},
    "apo_asymmetric": {
        "advantage": {"name": "apo_asymmetric", "correct_reward": "format_reward"},
        "policy_loss": "apo_asymmetric",
        "beta": 0.001,
    },
    # The third group has nothing eligible and falls back on its baseline answer.
    "cgpo": {"kl_max": 5.0, "constraints": [{"name": "length", "minimum": 21}], "baseline_column": "solution"},
}
# These need a trainer with a critic: tests/trainers/ppo.
WITH_CRITIC = ("gae", "rto", "egae")


def test_every_estimator_gives_the_same_on_two_processes(bundled_model_dir, tmp_path):
    names = [name for name in PARTS["advantage"] if name not in WITH_CRITIC]
    task = {"model": bundled_model_dir, "names": names, "config": SETTINGS, "methods": {"cgpo": "cgpo"}}
    alone = run({**task, "file": str(tmp_path / "one.json")})
    shared = {**task, "file": str(tmp_path / "two.json")}
    finished = launch(WORKER, shared, processes=2)
    assert finished.returncode == 0, finished.stderr[-3000:]
    together = json.loads(Path(shared["file"]).read_text())
    assert list(alone) == list(together) == names
    for name, tensors in alone.items():
        for key, values in tensors.items():
            assert flat(together[name][key]) == pytest.approx(flat(values), abs=1e-5), (name, key)
            assert any(flat(values)), (name, key)


def flat(values):
    return [item for row in values for item in row] if isinstance(values[0], list) else values


def test_every_own_loss_and_token_estimator_trains_on_two_processes(bundled_model_dir, tmp_path):
    """Groups straddle the processes, completions differ in length, and every exchange is met by the other process."""
    shared = {"per_device_train_batch_size": 6, "num_iterations": 2, "max_steps": 2, "beta": 0.001}
    choices = {
        "mhpo": {"policy_loss": "mhpo"},
        "bapo": {"policy_loss": "bapo"},
        "hapo": {"policy_loss": "hapo", "advantage": "hapo"},
        "dcpo": {"advantage": "dcpo"},
        "copo": SETTINGS["copo"],
        "apo_asymmetric": SETTINGS["apo_asymmetric"],
    }
    tasks = {
        name: {
            "model": bundled_model_dir,
            "key": "online",
            "lora": True,
            "output_dir": str(tmp_path / name),
            "config": {**shared, **choice},
        }
        for name, choice in choices.items()
    }
    file = tmp_path / "found.json"
    finished = launch(WORKER.with_name("several_runs_worker.py"), {"tasks": tasks, "file": str(file)}, processes=2)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for name, found in json.loads(file.read_text()).items():
        assert found["processes"] == 2
        assert found["weights"][0] == found["weights"][1], name
        assert len(found["logs"]) == 2 and all(math.isfinite(entry["loss"]) for entry in found["logs"]), name


def test_groups_that_straddle_processes_are_drawn_guided_and_replayed_alike(bundled_model_dir, tmp_path):
    given = {
        "model": bundled_model_dir,
        "output_dir": str(tmp_path / "out"),
        "file": str(tmp_path / "found.json"),
        "rows": 6,
    }
    finished = launch(WORKER.with_name("rounds_worker.py"), given, processes=2)
    assert finished.returncode == 0, finished.stderr[-3000:]
    found = json.loads(Path(given["file"]).read_text())
    assert found["processes"] == 2
    # Both processes hold the same rewards, which are those of the completions that are trained on.
    rewards, other = found["rewards"]
    assert rewards == other and len(rewards) == 12
    assert rewards[0] == 5.0 and rewards[1:] == found["scored_again"][1:]
    assert found["guided"][0] == found["guided"][1] and any(row >= 6 for row in found["guided"][0])
    assert found["origins"][0] == Origin.REPLAYED
    assert [row for row in range(1, 12) if found["origins"][row] == Origin.GUIDED] == [
        row for row in found["guided"][0] if row
    ]
    assert found["told"][0] == found["told"][1] and len(found["told"][0]) == 3
    assert found["answers"][4] == found["answers"][7]  # the second group lies on both processes
