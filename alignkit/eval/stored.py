"""Scoring judgements that exist already: `alignkit eval score NAME ...`, no model and no judge.

A module named here has `add_arguments(parser)` and `score(name, args) -> dict`: the content of `scores.json`, which the
command writes into `--out` and prints. `--out` itself is added by the command.
"""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from alignkit.errors import InputError

from .records import write_atomically
from .results import without_nan


MODULES = {
    "alpaca_eval2": "alignkit.eval.alpaca_eval2.stored",
    "arena_hard_v01": "alignkit.eval.arena_hard.stored",
    "arena_hard_v2": "alignkit.eval.arena_hard.stored",
    "mt_bench": "alignkit.eval.mt_bench.stored",
}


def load_module(name: str) -> ModuleType:
    """The module that scores the stored judgements of one benchmark."""
    if name not in MODULES:
        raise InputError(f"stored judgements of {name!r} cannot be scored: there are {', '.join(MODULES)}")
    return importlib.import_module(MODULES[name])


def write_scores(folder: Path, scores: dict[str, Any]) -> Path:
    """Write `scores.json`, with null for what is not a number."""
    path = folder / "scores.json"
    write_atomically(path, json.dumps(without_nan(scores), indent=2) + "\n")
    return path
