"""Stage "report": `report.md` and one self-contained `report.html`, made of `results.json` and the records."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..results import Results, read_results


if TYPE_CHECKING:
    from ..plan import Plan
    from ..results import ResultFiles
    from .page import Section


def report_stage(plan: "Plan", folder: Path) -> "ResultFiles":
    """Write both reports of one suite; return the results they show."""
    from .page import write_reports

    results, section = make_section(plan, folder)
    write_reports(folder, [section])
    return results


def combined_report(plans: Mapping[str, "Plan"], folders: Mapping[str, Path], folder: Path) -> None:
    """Write one report over several suites into their common folder."""
    from .page import write_reports

    write_reports(folder, [make_section(plan, folders[name])[1] for name, plan in plans.items()])


def make_section(plan: "Plan", folder: Path) -> tuple["ResultFiles", "Section"]:
    """The results of one suite and its section of the report."""
    results = read_results(folder)
    if isinstance(results, Results):
        return results, graded_section(plan, folder, results)
    if results.kind == "judged":
        from .judged import judged_section

        return results, judged_section(plan, folder, results)
    if results.kind == "image_reward":
        from .images import image_section

        return results, image_section(plan, folder, results)
    from .tasks import task_section

    return results, task_section(results)


def graded_section(plan: "Plan", folder: Path, results: Results) -> "Section":
    from ..grading import read_grades
    from . import html
    from .formatting import interval, percent
    from .markdown import render_markdown
    from .page import Section
    from .view import build_view

    rows = [read_grades(plan, run, folder) for run in plan.runs]
    view = build_view(results, rows, plan.baseline, plan.options.num_examples)
    headlines = {
        model.label: f"{percent(model.accuracy)} ({interval(model.ci_low, model.ci_high)})" for model in results.models
    }
    return Section(
        results.suite, results.title, html.render_html(results, view), render_markdown(results, view), headlines
    )
