"""The outcome of a judged suite as data: what its `results.json` holds and what its report is made of."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..results import ResultFiles
from .benchmark import Measure


@dataclass(frozen=True)
class JudgedModel:
    """One model's figures, in percent where they are rates; see `Figures` for `metrics`, `counts`, `notes`,
    `leaderboard` and `details`.

    `n` counts items; `n_null` those without a verdict although the judge replied, `n_missing` those without a reply,
    `n_truncated` cut-off answers. `mean_length` is in characters. `groups` holds the mean share of the win, in percent (or rating),
    per value of the suite's grouping columns; `judging` and `generating` (an endpoint's answers) calls, tokens and cost.
    """

    name: str
    label: str
    fingerprint: str
    model_fingerprint: str
    adapter: bool
    base: str | None
    headline: str
    metrics: dict[str, dict[str, float]]
    counts: dict[str, int]
    n: int
    n_null: int
    n_missing: int
    n_truncated: int
    mean_tokens: float
    mean_length: float
    judging: dict[str, float]
    generating: dict[str, float] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    leaderboard: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgedComparison:
    """`model` minus `baseline`, two evaluated models: the paired difference of the item values, in percentage points (or
    points of the rating)."""

    model: str
    baseline: str
    difference: float
    ci_low: float
    ci_high: float
    n: int


@dataclass(frozen=True)
class JudgedResults(ResultFiles):
    """Everything that was measured, and where it is written. `judge` says who judged, under which fingerprint; `measure`
    what the figures are."""

    kind: ClassVar[str] = "judged"

    suite: str
    title: str
    models: list[JudgedModel]
    comparisons: list[JudgedComparison]
    judge: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    notes: list[str] = field(default_factory=list)
    measure: Measure = field(default_factory=Measure)
    out_dir: str = ""

    @classmethod
    def from_dict(cls, values: dict[str, Any], out_dir: str) -> "JudgedResults":
        values["models"] = [JudgedModel(**model) for model in values["models"]]
        values["measure"] = Measure(**values.get("measure", {}))
        values["comparisons"] = [JudgedComparison(**own) for own in values["comparisons"]]
        return cls(**values, out_dir=out_dir)
