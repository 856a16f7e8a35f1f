"""One global batch gives one set of advantages, whether one process holds it or two, groups straddling them."""

import json
from pathlib import Path

import pytest
from launched_runs import launch
from same_batch_worker import run

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
}
# These need a trainer with a critic: tests/trainers/ppo.
WITH_CRITIC = ("gae", "rto")


def test_every_estimator_gives_the_same_on_two_processes(bundled_model_dir, tmp_path):
    names = [name for name in PARTS["advantage"] if name not in WITH_CRITIC]
    task = {"model": bundled_model_dir, "names": names, "config": SETTINGS}
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
