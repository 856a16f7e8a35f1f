"""The outcome of lm-eval's tasks as data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from alignkit.errors import InputError

from ..plan import Plan, Run
from ..results import ResultFiles
from ..scoring import versions
from .running import result_file, task_settings


# Half the width of a 95 % interval in standard errors.
NORMAL_95 = 1.959964


@dataclass(frozen=True)
class TaskModel:
    """One model's figures: `metrics["task metric"]` holds value, standard_error and a 95 % normal interval."""

    name: str
    label: str
    fingerprint: str
    model_fingerprint: str
    adapter: bool
    base: str | None
    n: int
    metrics: dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class LmEvalResults(ResultFiles):
    """Everything that lm-eval measured, as it reports it (shares, not percent)."""

    kind: ClassVar[str] = "lm_eval"

    suite: str
    title: str
    models: list[TaskModel]
    settings: dict[str, Any]
    versions: dict[str, str]
    comparisons: list[Any] = field(default_factory=list)
    out_dir: str = ""

    @classmethod
    def from_dict(cls, values: dict[str, Any], out_dir: str) -> LmEvalResults:
        values["models"] = [TaskModel(**model) for model in values["models"]]
        return cls(**values, out_dir=out_dir)


def score_tasks(plan: Plan, folder: Path) -> LmEvalResults:
    """Collect the figures of every model into `results.json`."""
    models = [read_model(plan, run, folder) for run in plan.runs]
    results = LmEvalResults(
        plan.suite.name, plan.suite.title, models, task_settings(plan), versions(), out_dir=str(folder)
    )
    results.write()
    return results


def read_model(plan: Plan, run: Run, folder: Path) -> TaskModel:
    path = result_file(plan, run, folder)
    if not path.is_file():
        raise InputError(f"{run.name} has no results in {path}: run `alignkit eval generate` first")
    outcome = json.loads(path.read_text(encoding="utf-8"))
    metrics: dict[str, dict[str, float | None]] = {}
    for task, values in outcome["results"].items():
        for key, value in values.items():
            name, _, filter_name = key.partition(",")
            if name.endswith("_stderr") or not isinstance(value, int | float) or isinstance(value, bool):
                continue
            error = values.get(f"{name}_stderr,{filter_name}")
            error = float(error) if isinstance(error, int | float) else None
            shown = name if filter_name in ("", "none") else f"{name} ({filter_name})"
            if name == "sample_len":
                continue
            metrics[f"{task} {shown}"] = {
                "value": float(value),
                "standard_error": error,
                "ci_low": None if error is None else value - NORMAL_95 * error,
                "ci_high": None if error is None else value + NORMAL_95 * error,
            }
    counts = [own.get("effective", 0) for own in outcome.get("n-samples", {}).values()]
    own = run.name, run.label, run.fingerprint, run.model_fingerprint, run.adapter, run.base
    return TaskModel(*own, n=sum(counts), metrics=metrics)
