"""Scripted models for the tests of the harness."""

from contextlib import nullcontext

import pytest
from scripted import Bench, write_items
from tiny_qwen import save_model

from alignkit.rewards import GradingPool


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> str:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def bench(monkeypatch, tiny_model) -> Bench:
    return Bench(monkeypatch, tiny_model)


@pytest.fixture
def data(tmp_path) -> str:
    return write_items(tmp_path / "items.jsonl.gz", 20)


@pytest.fixture(scope="session")
def grading_pool():
    """One pool for all tests: starting a worker costs more than a test."""
    with GradingPool(num_workers=1) as pool:
        yield pool


@pytest.fixture
def shared_pool(monkeypatch, grading_pool):
    """The harness grades in the pool of the session."""
    monkeypatch.setattr("alignkit.eval.grading.GradingPool", lambda *arguments: nullcontext(grading_pool))
    return grading_pool
