"""The stored judgements that Arena-Hard's scoring is checked on; the tests skip where they are absent."""

import gzip
import json
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def arena_data() -> Path:
    root = os.environ.get("ALIGNKIT_EVAL_DATA")
    folder = Path(root, "arena_hard") if root else None
    if folder is None or not folder.is_dir():
        pytest.skip("ALIGNKIT_EVAL_DATA names no folder with arena_hard/")
    return folder


@pytest.fixture(scope="session")
def expected(arena_data) -> dict:
    """What the official code gives on the stored verdicts of 18 models."""
    return json.loads((arena_data / "ko_v0.1_expected.json").read_text())


@pytest.fixture(scope="session")
def read_data(arena_data):
    """Rows of one of the stored files."""

    def read(name: str) -> list[dict]:
        with gzip.open(arena_data / name, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    return read
