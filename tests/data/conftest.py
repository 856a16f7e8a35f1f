"""What the tests of the data room share: a cache of their own and well-formed rows."""

import importlib
import json
import sys
from pathlib import Path

import pytest


FOLDER = Path(__file__).parents[2] / "data"
NAMES = ("ultrafeedback", "hh_rlhf", "pku_saferlhf", "beavertails", "tldr", "math_rl", "building")


@pytest.fixture(scope="session", autouse=True)
def datasets_cache(tmp_path_factory):
    """Keep the Arrow files of the tests out of the user's cache."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")
    yield
    datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture
def pair_rows() -> list[dict]:
    """Five conversational pairs with the columns of MADPO and MODPO."""
    return [
        {
            "prompt": [{"role": "user", "content": f"What is {number} + 1?"}],
            "chosen": [{"role": "assistant", "content": f"It is {number + 1}."}],
            "rejected": [{"role": "assistant", "content": f"It is {number + 2}."}],
            "reward_margin": number - 1.5,
            "chosen_margin_rewards": [0.5, number],
            "rejected_margin_rewards": [1.0, 2.0],
        }
        for number in range(5)
    ]


@pytest.fixture
def write_jsonl(tmp_path):
    """Write rows as JSON lines under the temporary folder and return the path as text."""

    def write(rows: list, name: str = "pairs.jsonl") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def builder(monkeypatch):
    """Import a builder as a script is run: with its own folder on the path, and nothing left behind."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def build(builder, write_jsonl, tmp_path):
    """Run a builder on rows; return what it wrote."""

    def run(name: str, rows: list[dict], *arguments: str) -> list[dict]:
        out = tmp_path / f"{name}_built.jsonl"
        source = write_jsonl(rows, f"{name}.jsonl")
        assert builder(name).main(["--dataset", source, "--split", "train", "--out", str(out), *arguments]) == 0
        return [json.loads(line) for line in out.read_text().splitlines()]

    return run
