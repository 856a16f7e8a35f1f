"""The recipe of CGPO and its control, each run to its end: the judges' constraints hold, and without them they do not."""

import json

import pytest

from alignkit.cli import main
from alignkit.config import recipe_path


pytestmark = pytest.mark.slow


def last(log: list[dict], metric: str, entries: int = 2) -> float:
    """Mean of a metric over the last log entries that hold it; with the recipe's settings, the last ten steps."""
    values = [entry[metric] for entry in log if metric in entry][-entries:]
    return sum(values) / len(values)


def train(name: str, folder, *flags: str) -> list[dict]:
    recipe = str(recipe_path(name))
    assert main(["train", "cgpo", "--config", recipe, "--output_dir", str(folder), *flags]) == 0
    state = json.loads((folder / "checkpoint-80" / "trainer_state.json").read_text())
    return state["log_history"]


def test_violations_fall_below_5_percent_and_the_plain_reward_optimiser_exceeds_50(tmp_path):
    log = train("cgpo", tmp_path / "cgpo")
    for task in ("worked", "terse"):
        assert last(log, f"cgpo/{task}/violated") < 0.05
        assert last(log, f"cgpo/{task}/unknown") == 0
        assert last(log, f"cgpo/{task}/trained") > 0
    control = train("cgpo-control", tmp_path / "control")
    assert last(control, "rewards/has_steps/mean") < 0.5
    assert last(control, "rewards/looks_worked/mean") > 0.5
    # The control is the better optimiser of the reward that it was given.
    for task in ("worked", "terse"):
        assert last(control, f"cgpo/{task}/reward") > last(log, f"cgpo/{task}/reward")
