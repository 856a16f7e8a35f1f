"""The evaluation table of a model card, read from the `results.json` of `alignkit eval` (or one shaped like it)."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .checkpoint import read_json
from .run_facts import without_folder


# In order of preference: the first that a result has is its headline.
_METRICS = (
    "length_controlled_win_rate",
    "length_controlled_winrate",
    "win_rate",
    "accuracy",
    "score",
    "mean",
    "value",
)
_DIFFERENCES = ("difference", "delta", "estimate", *_METRICS)
_GROUPS = ("tasks", "metrics", "results", "suites")
_INTERVALS = (("ci_low", "ci_high"), ("ci_lower", "ci_upper"), ("low", "high"))


@dataclass(frozen=True)
class Score:
    """One figure of one model (or of a difference between two), with its interval where one was given."""

    name: str
    task: str | None
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int | None


@dataclass(frozen=True)
class Evaluation:
    """What a results file says."""

    suite: str | None
    models: tuple[Score, ...]
    differences: tuple[Score, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)

    def tables(self) -> str:
        """Return the figures as Markdown tables."""
        parts = [_table("Model", self.models)]
        if self.differences:
            parts.append(_table("Difference", self.differences))
        return "\n\n".join(parts)


def read_evaluation(path: str | Path) -> Evaluation:
    """Read a results file, taking every figure it can make out.

    Raises:
        InputError: the file cannot be read, is not a JSON object, or has no figure under "models".
    """
    content = read_json(Path(path))
    models = [score for entry in _entries(content.get("models")) for score in _scores(entry, _METRICS)]
    if not models:
        raise InputError(
            f'{path} has no figure to show: expected "models": [{{"name", "accuracy", "ci_low", "ci_high", '
            f'"n"}}, ...], found the fields {sorted(content)}.'
        )
    pairs = [*_entries(content.get("comparisons")), *_entries(content.get("differences"))]
    differences = [score for entry in pairs for score in _scores(entry, _DIFFERENCES)]
    suite = content.get("suite")
    if isinstance(suite, dict):
        suite = suite.get("name")
    return Evaluation(suite if isinstance(suite, str) else None, tuple(models), tuple(differences))


def _entries(value: Any) -> list[dict[str, Any]]:
    """Return a list of objects, from a list or from an object keyed by name."""
    if isinstance(value, dict):
        return [{"name": str(name), **entry} for name, entry in value.items() if isinstance(entry, dict)]
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _scores(entry: dict[str, Any], metrics: tuple[str, ...], outer: "_Outer | None" = None) -> Iterator[Score]:
    """Yield the headline of a result and of the results inside it, which carry its name."""
    outer = outer or _Outer(_name(entry), None, False)
    key = next((key for key in metrics if _is_number(entry.get(key))), None)
    task = _first_text(entry, ("task", "suite", "data", "dataset")) or outer.task
    if key is not None:
        low, high = _interval(entry)
        n = next(
            (entry[key] for key in ("n", "n_items", "count", "num_examples") if isinstance(entry.get(key), int)), None
        )
        metric = _first_text(entry, ("name",) if outer.is_metric else ("metric",)) or key
        yield Score(outer.name, task, metric, float(entry[key]), low, high, n)
    for group in _GROUPS:
        for inner in _entries(entry.get(group)):
            is_metric = group == "metrics"
            inner_task = task if is_metric else _first_text(inner, ("name",))
            yield from _scores(inner, metrics, _Outer(outer.name, inner_task, is_metric))


@dataclass(frozen=True)
class _Outer:
    name: str
    task: str | None
    is_metric: bool


def _name(entry: dict[str, Any]) -> str:
    for first, second in (("model", "baseline"), ("a", "b"), ("model_a", "model_b"), ("left", "right")):
        if isinstance(entry.get(first), str) and isinstance(entry.get(second), str):
            return f"{without_folder(entry[first])} − {without_folder(entry[second])}"
    pair = entry.get("models")
    if isinstance(pair, list) and len(pair) == 2:
        return " − ".join(without_folder(str(name)) for name in pair)
    return without_folder(_first_text(entry, ("name", "model", "label")) or "(unnamed)")


def _interval(entry: dict[str, Any]) -> tuple[float | None, float | None]:
    for low, high in _INTERVALS:
        if _is_number(entry.get(low)) and _is_number(entry.get(high)):
            return float(entry[low]), float(entry[high])
    pair = entry.get("ci")
    if isinstance(pair, list) and len(pair) == 2 and all(_is_number(item) for item in pair):
        return float(pair[0]), float(pair[1])
    return None, None


def _first_text(entry: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((entry[key] for key in keys if isinstance(entry.get(key), str)), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _table(heading: str, scores: tuple[Score, ...]) -> str:
    with_task = any(score.task for score in scores)
    lines = [f"| {heading} |{' Task |' if with_task else ''} Metric | Value | 95% interval | n |"]
    lines.append(f"| --- |{' --- |' if with_task else ''} --- | ---: | --- | ---: |")
    for score in scores:
        interval = f"[{score.low:.4g}, {score.high:.4g}]" if score.low is not None and score.high is not None else "–"
        task = f" {cell(score.task or '–')} |" if with_task else ""
        n = score.n if score.n is not None else "–"
        lines.append(f"| {cell(score.name)} |{task} {cell(score.metric)} | {score.value:.4g} | {interval} | {n} |")
    return "\n".join(lines)


def cell(text: object) -> str:
    """Return text that cannot break a Markdown table's row."""
    return str(text).replace("|", "\\|").replace("\n", " ")
