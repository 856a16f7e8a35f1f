"""Every claim check runs in its quick form and writes a picture and the numbers behind it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest


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
    for name in ("common", "games"):
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
