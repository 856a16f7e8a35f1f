"""`report.html`: one file, nothing loaded from elsewhere, legible at 380 px and in dark mode."""

from importlib.resources import files
from typing import Any

from ..results import Results
from .figures import accuracy_bars, length_histograms, outcome_flow
from .markdown import interval, percent, points
from .view import View


def render_html(results: Results, view: View) -> str:
    """The HTML report. All text from models and data is escaped."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"percent": percent, "points": points}
    environment.globals["interval"] = interval
    template = environment.from_string((files(__package__) / "template.html.j2").read_text(encoding="utf-8"))
    return template.render(
        results=results,
        view=view,
        settings=settings_rows(results),
        figure_accuracy=accuracy_bars(results),
        figure_lengths=length_histograms(view.lengths, results.settings["sampling"]["max_new_tokens"]),
        figure_flows=[
            outcome_flow(comparison, (results[comparison.baseline].label, results[comparison.model].label))
            for comparison in results.comparisons
        ],
    )


def settings_rows(results: Results) -> list[tuple[str, Any]]:
    """Settings and versions as rows of a table."""
    rows: list[tuple[str, Any]] = []
    for name, value in results.settings.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {own}" for key, own in value.items())
        if value not in (None, ""):
            rows.append((name.replace("_", " "), value))
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in results.versions.items())))
    return rows
