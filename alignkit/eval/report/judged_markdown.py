"""A judged suite in `report.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..judging.results import JudgedResults
from .formatting import answers_cost, escape, paid, row, table_head


if TYPE_CHECKING:
    from .judged import JudgedView


def render_judged_markdown(results: JudgedResults, view: JudgedView) -> str:
    """The Markdown of a judged suite."""
    from .judged import format_metric, metric_names, title_of

    names, unit = metric_names(results), results.measure.unit
    lines = [f"# {results.title}", ""]
    lines += [f"> {warning}" for warning in view.warnings] + ([""] if view.warnings else [])
    lines += table_head(["model", *(title_of(name) for name in names), "length", "null", "cut off", "cost"])
    for model in results.models:
        cells = [format_metric(model.metrics.get(name), unit) for name in names]
        counts = [f"{model.mean_length:.0f}", str(model.n_null + model.n_missing), str(model.n_truncated)]
        lines.append(row([escape(model.label), *cells, *counts, paid(model.judging)]))
    if results.comparisons:
        lines += ["", "## Paired differences", "", *table_head(["model", "against", "points", "interval", "items"])]
        for own in results.comparisons:
            digits = 1 if unit else 2
            pair = [escape(results[own.model].label), escape(results[own.baseline].label)]
            interval = f"{own.ci_low:+.{digits}f} to {own.ci_high:+.{digits}f}"
            lines.append(row([*pair, f"{own.difference:+.{digits}f}", interval, str(own.n)]))
    for model in results.models:
        if model.leaderboard:
            lines += ["", f"## {escape(model.label)} on the official leaderboard", ""]
            lines += table_head(["place", "model", title_of(model.headline)])
            for entry in model.leaderboard:
                name = f"**{escape(entry['name'])}**" if entry["own"] else escape(entry["name"])
                lines.append(row([str(entry["place"]), name, f"{entry['value']:.2f}"]))
    for column in results.models[0].groups:
        lines += ["", f"## By {column}", "", *table_head([column, "n", *(escape(m.label) for m in results.models)])]
        for value in dict.fromkeys(value for model in results.models for value in model.groups[column]):
            found = [model.groups[column].get(value) for model in results.models]
            largest = max(int(cell["n"]) for cell in found if cell)
            lines.append(row([escape(value), str(largest), *(format_metric(cell, unit) for cell in found)]))
    lines += ["", "## Settings", ""]
    shown = {**results.settings, **results.judge}
    lines += [f"- {name}: {escape(str(value))}" for name, value in shown.items() if value not in (None, "", {})]
    lines += [f"- {name} {number}" for name, number in results.versions.items()]
    for model in results.models:
        details = ", ".join(f"{name} {escape(str(value))}" for name, value in model.details.items())
        lines.append(
            f"- {escape(model.name)}: run {model.fingerprint}, model {model.model_fingerprint}; {details}{answers_cost(model)}"
        )
    return "\n".join(lines) + "\n"
