"""Small loops: the bundled model, a few prompts, a judge that prefers short answers."""

import json

import pytest
from loop_runs import base_settings


@pytest.fixture(scope="session")
def prompts_file(tmp_path_factory):
    """24 problems with answer and solution."""
    from alignkit.data import load

    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in load("bundled/math", split="train[:24]")))
    return str(path)


@pytest.fixture
def settings(prompts_file, tmp_path):
    """Fields of a loop that takes seconds."""
    return {**base_settings(prompts_file), "output_dir": str(tmp_path / "run")}
