"""A graded suite in `report.md`: the figures as tables, for a terminal, a pull request or a model card."""

from ..results import Comparison, Results
from .formatting import answers_cost, escape, interval, percent, points, row, table_head
from .view import View


def render_markdown(results: Results, view: View) -> str:
    """The Markdown report."""
    confidence = percent(results.settings["confidence"], 0)
    lines = [f"# {results.title}", ""]
    lines += [f"> {warning}" for warning in view.warnings] + ([""] if view.warnings else [])
    header = ["model", "accuracy", f"{confidence} interval", "right", "cut off", "no answer", "timed out", "tokens"]
    lines += table_head(header)
    for model in results.models:
        cells = [
            escape(model.label),
            percent(model.accuracy),
            interval(model.ci_low, model.ci_high),
            f"{model.n_correct}/{model.n_completions}",
            str(model.n_truncated),
            str(model.n_unparsable + model.n_too_complex),
            str(model.n_timeout + model.n_crash),
            f"{model.mean_tokens:.0f}",
        ]
        lines.append(row(cells))
    if results.comparisons:
        lines += ["", "## Paired comparison", ""]
        lines += table_head(
            ["model", "against", "difference", f"{confidence} interval", "gained", "lost", "McNemar p"]
        )
        lines += [row(comparison_cells(results, comparison)) for comparison in results.comparisons]
    names = list(results.models[0].metrics)
    if names:
        lines += ["", "## Several samples per item", ""] + table_head(["model", *names])
        for model in results.models:
            lines.append(row([escape(model.label), *(percent(model.metrics[name]["value"]) for name in names)]))
    for column in results.models[0].groups:
        lines += ["", f"## By {column}", ""] + table_head([column, "n", *(escape(m.label) for m in results.models)])
        for value, cell in results.models[0].groups[column].items():
            shares = [percent(model.groups[column][value]["value"]) for model in results.models]
            lines.append(row([escape(value), str(int(cell["n"])), *shares]))
    lines += ["", "## Settings", ""]
    lines += [f"- {name}: {escape(str(value))}" for name, value in results.settings.items() if value not in (None, "")]
    lines += [f"- {name} {number}" for name, number in results.versions.items()]
    lines += [
        f"- {escape(m.name)}: run {m.fingerprint}, model {m.model_fingerprint}{answers_cost(m)}"
        for m in results.models
    ]
    return "\n".join(lines) + "\n"


def comparison_cells(results: Results, comparison: Comparison) -> list[str]:
    return [
        escape(results[comparison.model].label),
        escape(results[comparison.baseline].label),
        points(comparison.difference),
        f"{points(comparison.ci_low)} to {points(comparison.ci_high)}",
        str(comparison.only_model_right),
        str(comparison.only_baseline_right),
        f"{comparison.mcnemar_p:.2g}",
    ]
