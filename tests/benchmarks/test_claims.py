"""Every claim check runs in its quick form and writes a picture and the numbers behind it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch


CLAIMS = Path(__file__).parents[2] / "benchmarks" / "claims"
SCRIPTS = [path for path in sorted(CLAIMS.glob("*.py")) if "read_options(__doc__" in path.read_text()]


@pytest.fixture
def load_claim(monkeypatch):
    """Import a claim check as a script would be run: with its own folder on the path, and nothing left behind."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(CLAIMS))

    def load(path):
        spec = importlib.util.spec_from_file_location(f"claim_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in ("common", "games", "tabular"):
        if name not in before:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_quick_claim_check_writes_its_picture_and_its_numbers(load_claim, tmp_path, path):
    result = load_claim(path).main(["--quick", "--seeds", "1", "--output", str(tmp_path)])
    written = json.loads((tmp_path / "benchmarks" / "claims" / "results" / f"{path.stem}.json").read_text())
    assert written["quick"] is True and written["method"] == path.stem
    assert set(result) < set(written)
    picture = (tmp_path / "docs" / "methods" / "img" / f"{path.stem}_claim.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    assert not list(tmp_path.rglob("*.tmp"))


def test_recorded_numbers_are_those_of_the_full_runs():
    recorded = {path.stem: json.loads(path.read_text()) for path in (CLAIMS / "results").glob("*.json")}
    assert {path.stem for path in SCRIPTS} <= set(recorded)
    assert [key for key, numbers in recorded.items() if numbers["quick"]] == []


def test_the_second_stage_of_mpo_converges_to_the_closed_form(load_claim, monkeypatch):
    """pi_dpo exp(r / beta): for a log-linear policy the parameters are those of the DPO model plus r / beta."""
    claim = load_claim(CLAIMS / "mpo.py")
    monkeypatch.setattr(claim, "BETA_RL", 1.0)
    task = claim.Task(seed=0, prompts=64, held_out=16, pairs_per_prompt=4, flip=0.1)
    start = task.dpo(torch.zeros(claim.FEATURES, dtype=torch.float64), task.split.easy, steps=50, seed=1)
    prompts = task.prompts_of(task.split.hard)
    trained = task.rl(start, start, prompts, steps=3000, seed=2)
    expected = (task.features[prompts] @ (start + task.reward_model)).softmax(-1)

    def distance(theta):
        return float(((task.features[prompts] @ theta).softmax(-1) - expected).abs().sum(-1).mean() / 2)

    assert distance(trained) < 1e-3 < 0.1 < distance(start)
