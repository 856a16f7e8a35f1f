"""The fields of a run of seconds."""

import pytest
from mpo_runs import base_settings, scored_pairs, write_pairs


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory):
    """16 pairs with the scores of a reward."""
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", scored_pairs())


@pytest.fixture
def settings(pairs_file, tmp_path):
    """Fields of a run of two-stage MPO that takes seconds."""
    return base_settings(pairs_file, tmp_path / "run")
