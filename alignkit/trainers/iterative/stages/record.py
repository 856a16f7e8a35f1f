"""Numbers of a stage, kept beside its output until the metrics of the iteration are put together."""

import json
from pathlib import Path
from typing import Any


def dump(metrics: dict[str, Any]) -> str:
    """Metrics as the text of a JSON file."""
    return json.dumps(metrics, indent=1) + "\n"


def read_metrics(path: Path) -> dict[str, Any]:
    """Metrics that an earlier stage wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
