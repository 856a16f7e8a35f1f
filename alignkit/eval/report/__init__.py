"""Stage 4: `report.md` and one self-contained `report.html`, made of `results.json` and the records."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..records import write_atomically
from ..results import Results


if TYPE_CHECKING:
    from ..plan import Plan


def report_stage(plan: "Plan", folder: Path) -> Results:
    """Write both reports; return the results they show."""
    from ..grading import read_grades
    from .html import render_html
    from .markdown import render_markdown
    from .view import build_view

    results = Results.read(folder)
    rows = [read_grades(plan, run, folder) for run in plan.runs]
    view = build_view(results, rows, plan.baseline, plan.options.num_examples)
    write_atomically(results.paths["markdown"], render_markdown(results, view))
    write_atomically(results.paths["html"], render_html(results, view))
    return results
