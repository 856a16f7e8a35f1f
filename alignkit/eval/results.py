"""The outcome of an evaluation as data: what `results.json` holds and what the report is made of."""

import importlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from alignkit.errors import InputError

from .records import write_atomically


RESULTS_FILE = "results.json"
SCHEMA = 1
CLASSES = {
    "math": ".results:Results",
    "judged": ".judging.results:JudgedResults",
    "lm_eval": ".lm_eval_tasks.results:LmEvalResults",
    "image_reward": ".image_reward.results:ImageResults",
}


@dataclass(frozen=True)
class ModelResult:
    """One model's figures; all shares in [0, 1].

    `accuracy` is the mean over items of the share of right samples (avg@n), with its bootstrap interval; `n` counts
    items, the other counts completions. `metrics` holds pass@k and maj@k where there are several samples; `groups` the
    accuracy per value of the suite's grouping columns; `generating` calls, tokens and cost of an endpoint's answers.
    """

    name: str
    label: str
    fingerprint: str
    model_fingerprint: str
    adapter: bool
    base: str | None
    accuracy: float
    ci_low: float
    ci_high: float
    n: int
    n_completions: int
    n_correct: int
    n_truncated: int
    n_unparsable: int
    n_too_complex: int
    n_timeout: int
    n_crash: int
    n_bad_gold: int
    mean_tokens: float
    generating: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """`model` minus `baseline` on the same items, with the paired bootstrap interval of the difference.

    The four counts say on how many items which of the two is right (with several samples: at least half of them);
    `mcnemar_p` is the two-sided exact p-value of the two off-diagonal ones.
    """

    model: str
    baseline: str
    difference: float
    ci_low: float
    ci_high: float
    n: int
    both_right: int
    only_model_right: int
    only_baseline_right: int
    both_wrong: int
    mcnemar_p: float


class ResultFiles:
    """What the results of every kind of suite have: a name, models, comparisons, and their files in `out_dir`."""

    kind: ClassVar[str]
    models: list[Any]
    comparisons: list[Any]
    out_dir: str

    def __getitem__(self, name: str) -> Any:
        """The result of one model, by the name it was given or by its label."""
        for model in self.models:
            if name in (model.name, model.label):
                return model
        raise KeyError(f"{name!r} was not evaluated; there are {', '.join(model.name for model in self.models)}")

    @property
    def paths(self) -> dict[str, Path]:
        """The files of the report."""
        return report_paths(Path(self.out_dir))

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)  # type: ignore[call-overload]
        del values["out_dir"]
        return {"schema": SCHEMA, "kind": self.kind, **values}

    def write(self) -> None:
        write_atomically(self.paths["json"], json.dumps(without_nan(self.to_dict()), indent=2) + "\n")


@dataclass(frozen=True)
class Results(ResultFiles):
    """The outcome of a graded suite: everything that was measured, and where it is written."""

    kind: ClassVar[str] = "math"

    suite: str
    title: str
    models: list[ModelResult]
    comparisons: list[Comparison]
    settings: dict[str, Any]
    versions: dict[str, str]
    out_dir: str = ""

    @classmethod
    def from_dict(cls, values: dict[str, Any], out_dir: str) -> "Results":
        values["models"] = [ModelResult(**model) for model in values["models"]]
        values["comparisons"] = [Comparison(**comparison) for comparison in values["comparisons"]]
        return cls(**values, out_dir=out_dir)

    @classmethod
    def read(cls, folder: Path) -> "Results":
        """Read the `results.json` of a graded suite."""
        results = read_results(folder)
        if not isinstance(results, cls):
            raise InputError(f"{folder} holds the results of suite {results.suite}, which is not graded")
        return results


def read_results(folder: Path) -> Any:
    """Read the `results.json` of an output folder: `Results`, `JudgedResults`, `LmEvalResults` or `ImageResults`."""
    path = folder / RESULTS_FILE
    if not path.is_file():
        raise InputError(f"{folder} holds no {RESULTS_FILE}: run `alignkit eval score --out {folder}`")
    values = json.loads(path.read_text(encoding="utf-8"))
    if values.pop("schema") != SCHEMA:
        raise InputError(f"{path} was written by another version: run `alignkit eval score --out {folder}` again")
    module, name = CLASSES[values.pop("kind", Results.kind)].split(":")
    return getattr(importlib.import_module(module, __package__), name).from_dict(values, str(folder))


def report_paths(folder: Path) -> dict[str, Path]:
    """The files of a report in `folder`."""
    return {"json": folder / RESULTS_FILE, "markdown": folder / "report.md", "html": folder / "report.html"}


def without_nan(value: Any) -> Any:
    """`value` with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: without_nan(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(own) for own in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
