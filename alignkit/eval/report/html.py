"""A graded suite in `report.html`."""

from ..results import Results
from .figures import accuracy_bars, length_histograms, outcome_flow, pass_at_k_curves
from .page import settings_rows, template
from .view import View


def render_html(results: Results, view: View) -> str:
    """The section of a graded suite."""
    several = bool(results.models[0].metrics)
    return template("math.html.j2").render(
        results=results,
        view=view,
        settings=settings_rows(results.settings, results.versions),
        figure_accuracy=accuracy_bars(results),
        figure_lengths=length_histograms(view.lengths, results.settings["sampling"]["max_new_tokens"]),
        figure_passes=pass_at_k_curves(results) if several else None,
        figure_flows=[
            outcome_flow(comparison, (results[comparison.baseline].label, results[comparison.model].label))
            for comparison in results.comparisons
        ],
    )
