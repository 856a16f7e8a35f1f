"""The harness's figures as `evaluate.Metric` modules: for `compute_metrics`, and for `evaluate.combine`.

    metric = alignkit.eval.metrics.load("math_accuracy")
    metric.compute(predictions=["so \\\\boxed{5}"], references=["5"])        # {"accuracy": 1.0, ...}

`evaluate.load(FILE)` reads the modules' files too. The same graders and formulas as `alignkit eval`; all rates in [0, 1].
"""

import importlib
from typing import TYPE_CHECKING

from alignkit.errors import InputError


if TYPE_CHECKING:
    import evaluate

METRICS = {"math_accuracy": "MathAccuracy", "pass_at_k": "PassAtK", "win_rate": "WinRate"}


def load(name: str) -> "evaluate.Metric":
    """The metric module `name`: `math_accuracy`, `pass_at_k` or `win_rate`."""
    if name not in METRICS:
        raise InputError(f"there is no metric {name!r}: there are {', '.join(METRICS)}")
    return getattr(importlib.import_module(f"{__name__}.{name}"), METRICS[name])()
