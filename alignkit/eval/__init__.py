"""The evaluation harness: tasks, generate, grade, score, report; resumable at any moment.

`evaluate(models, suite, out_dir)` is the whole line; `alignkit eval` calls it. Records are append-only JSONL in the
output folder, so a stage can be run alone and a killed run goes on where it stopped.
"""

import importlib
from typing import TYPE_CHECKING


_EXPORTS = {
    "EvalOptions": "alignkit.eval.options",
    "Results": "alignkit.eval.results",
    "Suite": "alignkit.eval.suites",
    "evaluate": "alignkit.eval.runner",
    "load_suite": "alignkit.eval.suites",
    "suite_names": "alignkit.eval.suites",
}

__all__ = ["EvalOptions", "Results", "Suite", "evaluate", "load_suite", "suite_names"]

if TYPE_CHECKING:
    from .options import EvalOptions
    from .results import Results
    from .runner import evaluate
    from .suites import Suite, load_suite, suite_names


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'alignkit.eval' has no attribute {name!r}")
