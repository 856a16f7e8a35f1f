"""The whole line: plan, generate, grade, score, report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .options import EvalOptions
from .plan import make_plan, read_plan
from .results import Results


STAGES = ("generate", "grade", "score", "report")


def evaluate(
    models: Sequence[str], suite: str, out_dir: str | Path, compare: str | None = None, **options: Any
) -> Results:
    """Evaluate models or adapters on a suite and write records, `results.json`, `report.md` and `report.html`.

    Args:
        models: model folders, PEFT adapter folders, Hub names or `bundled/tiny-math`.
        suite: a name of `suite_names()`.
        out_dir: the folder of this suite's records; what is complete there is not done again.
        compare: another model (or one of `models`) that the others are compared with, item by item.
        options: fields of `EvalOptions`.

    Returns the `Results`. Raises `InputError` for what cannot be evaluated, before any model is loaded.
    """
    folder = Path(out_dir)
    plan_generations(models, suite, folder, EvalOptions(**options), compare)
    results = None
    for stage in STAGES:
        results = run_stage(stage, folder)
    assert results is not None
    return results


def plan_generations(
    models: Sequence[str], suite: str, folder: Path, options: EvalOptions, compare: str | None = None
) -> None:
    """Make the plan and write it into the folder."""
    make_plan(models, suite, options, compare).write(folder)


def run_stage(stage: str, folder: Path) -> Results | None:
    """Run one stage of the folder's plan; "score" and "report" return the results."""
    plan = read_plan(folder)
    if stage == "generate":
        from .generating import generate_stage

        generate_stage(plan, folder)
    elif stage == "grade":
        from .grading import grade_stage

        grade_stage(plan, folder)
    elif stage == "score":
        from .scoring import score_stage

        return score_stage(plan, folder)
    elif stage == "report":
        from .report import report_stage

        return report_stage(plan, folder)
    else:
        raise ValueError(f"unknown stage {stage!r}")
    return None
