"""lm-eval's tasks in the reports."""

from ..lm_eval_tasks.results import LmEvalResults
from .formatting import escape, row, table_head
from .page import Section, settings_rows, template


def task_section(results: LmEvalResults) -> Section:
    """Both renderings of a suite of lm-eval's tasks."""
    names = list(dict.fromkeys(name for model in results.models for name in model.metrics))
    html = template("tasks.html.j2").render(
        results=results,
        names=names,
        format_value=format_value,
        settings=settings_rows(results.settings, results.versions),
    )
    lines = [f"# {results.title}", ""]
    limit = results.settings["limit"]
    if limit is not None:
        lines += [f"> Only the first {limit} items of each task were evaluated: not the tasks' figures.", ""]
    lines += table_head(["task and metric", *(escape(model.label) for model in results.models)])
    lines += [row([name, *(format_value(model.metrics.get(name)) for model in results.models)]) for name in names]
    lines += ["", "## Settings", ""]
    lines += [f"- {name}: {escape(str(value))}" for name, value in results.settings.items() if value is not None]
    lines += [f"- {name} {number}" for name, number in results.versions.items()]
    lines += [f"- {escape(own.name)}: run {own.fingerprint}, model {own.model_fingerprint}" for own in results.models]
    first = names[0] if names else ""
    headlines = {model.label: f"{format_value(model.metrics.get(first))} ({first})" for model in results.models}
    return Section(results.suite, results.title, html, "\n".join(lines) + "\n", headlines)


def format_value(metric: dict[str, float | None] | None) -> str:
    """A figure as lm-eval gives it, with its standard error."""
    if metric is None or metric["value"] is None:
        return "–"
    error = metric["standard_error"]
    return f"{metric['value']:.4f}" + (f" ± {error:.4f}" if error is not None else "")
