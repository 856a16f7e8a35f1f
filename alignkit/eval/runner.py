"""The whole line: plan, generate, judge or grade, score, report; one suite or several in one folder.

One suite has its records in the output folder itself. Several have a folder each in it, named in `suites.json`, and a
report over all of them in the output folder.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from .options import EvalOptions
from .plan import PLAN_FILE, Plan, make_plan, read_json, read_plan
from .processes import Processes
from .records import write_atomically
from .results import ResultFiles
from .suites import LM_EVAL, SUITES_FILE, load_suite


# The stages of each kind of suite, in order.
STAGES = {
    "math": ("generate", "grade", "score", "report"),
    "judged": ("generate", "judge", "score", "report"),
    "lm_eval": ("generate", "score", "report"),
    "image_reward": ("generate", "grade", "score", "report"),
}


def evaluate(
    models: Sequence[str], suite: str, out_dir: str | Path, compare: str | None = None, **options: Any
) -> Any:
    """Evaluate models or adapters on a suite and write records, `results.json`, `report.md` and `report.html`.

    Args:
        models: model folders, PEFT adapter folders, Hub names, `bundled/tiny-math`, `endpoint:MODEL[@URL]`, or (judged
            suites) a `model_outputs.json`.
        suite: a name of `suite_names()`, or several with commas between them.
        out_dir: the folder of the records; what is complete there is not done again.
        compare: another model (or one of `models`) that the others are compared with, item by item.
        options: fields of `EvalOptions`.

    Returns the suite's results (`Results`, `JudgedResults`, `LmEvalResults` or `ImageResults`), or a dictionary of them by suite where
    there are several. Raises `InputError` for what cannot be evaluated, before any model is loaded.
    """
    folder = Path(out_dir)
    plan_generations(models, suite, folder, EvalOptions(**options), compare, to_the_end=True)
    results = run_stages(("generate", "grade", "judge", "score", "report"), folder)
    return results if (folder / SUITES_FILE).exists() else next(iter(results.values()))


def plan_generations(
    models: Sequence[str],
    suite: str,
    folder: Path,
    options: EvalOptions,
    compare: str | None = None,
    to_the_end: bool = False,
) -> None:
    """Make the plan of every suite and write it into the folder; nothing is written unless all can be made.

    `to_the_end`: judging follows, so that a judged suite without a judge is refused now and not after the generation.
    """
    names = split_suites(suite)
    plans = {name: make_plan(models, name, options, compare) for name in names}
    if to_the_end:
        for plan in plans.values():
            check_judge(plan)
    several = len(names) > 1
    if several and (folder / PLAN_FILE).exists():
        raise InputError(f"{folder} holds an evaluation on one suite: give several suites another --out")
    if not several and (folder / SUITES_FILE).exists():
        held = ", ".join(read_json(folder / SUITES_FILE))
        raise InputError(f"{folder} holds an evaluation on several suites ({held}): give another --out")
    if not Processes.here().is_main:
        return
    for name, plan in plans.items():
        plan.write(folder / folder_name(name) if several else folder)
    if several:
        write_atomically(folder / SUITES_FILE, json.dumps(names) + "\n")


def check_judge(plan: Plan) -> None:
    """Refuse a judged suite whose judge is missing or wants a key that is not there."""
    if plan.suite.kind == "judged":
        from .judging.spec import EndpointJudge
        from .judging.stage import plan_judge

        judge = plan_judge(plan)
        if isinstance(judge, EndpointJudge):
            judge.options.key()


def change_options(folder: Path, **changes: Any) -> None:
    """Change what a later stage may still decide (the judge, a cost limit) in every plan of the folder."""
    given = {name: value for name, value in changes.items() if value not in (None, False)}
    if given and Processes.here().is_main:
        for own in suite_folders(folder).values():
            plan = read_plan(own)
            replace(plan, options=replace(plan.options, **given)).write(own)


def split_suites(suite: str) -> list[str]:
    """Suite names between commas; after `lm_eval:` the commas stand between its tasks."""
    names: list[str] = []
    for part in suite.split(","):
        name = part.strip()
        if not name:
            continue
        if names and names[-1].startswith(LM_EVAL) and not is_suite(name):
            names[-1] += f",{name}"
        elif name not in names:
            names.append(name)
    if not names:
        raise InputError(f"--suite is {suite!r}: it names no suite")
    return names


def is_suite(name: str) -> bool:
    try:
        load_suite(name)
    except InputError:
        return False
    return True


def folder_name(suite: str) -> str:
    """The folder of one suite among several."""
    return suite.replace(":", "-").replace(",", "-").replace("/", "-")


def suite_folders(folder: Path) -> dict[str, Path]:
    """The suites of an output folder and where their records are."""
    if (folder / SUITES_FILE).exists():
        return {name: folder / folder_name(name) for name in read_json(folder / SUITES_FILE)}
    return {read_plan(folder).suite.name: folder}


def run_stages(stages: Sequence[str], folder: Path) -> dict[str, ResultFiles]:
    """Run those of `stages` that a suite has, for every suite of the folder; the results by suite, once there are any.

    Raises `InputError` where no suite of the folder has any of the stages.
    """
    processes = Processes.here()
    processes.barrier()  # the main process writes the plan
    folders = suite_folders(folder)
    plans = {name: read_plan(own) for name, own in folders.items()}
    if not any(stage in STAGES[plan.suite.kind] for stage in stages for plan in plans.values()):
        kinds = ", ".join(f"{name} has {', '.join(STAGES[plan.suite.kind])}" for name, plan in plans.items())
        raise InputError(f"there is no stage {' or '.join(stages)} here: {kinds}")
    results: dict[str, ResultFiles] = {}
    for stage in stages:
        for name, plan in plans.items():
            if stage not in STAGES[plan.suite.kind] or not (processes.is_main or stage == "generate"):
                continue
            outcome = run_stage(stage, plan, folders[name])
            if outcome is not None:
                results[name] = outcome
    if "report" in stages and (folder / SUITES_FILE).exists() and processes.is_main:
        from .report import combined_report

        combined_report(plans, folders, folder)
    return results


def run_stage(stage: str, plan: Plan, folder: Path) -> ResultFiles | None:
    """Run one stage of one suite; "score" and "report" return the results."""
    kind = plan.suite.kind
    if stage == "generate":
        if kind == "lm_eval":
            from .lm_eval_tasks.running import run_tasks as stage_function
        elif kind == "image_reward":
            from .image_reward.drawing import draw_stage as stage_function
        else:
            from .generating import generate_stage as stage_function
        stage_function(plan, folder)
        return None
    if stage == "grade":
        if kind == "image_reward":
            from .image_reward.scoring import score_images as grade_function
        else:
            from .grading import grade_stage as grade_function
        grade_function(plan, folder)
        return None
    if stage == "judge":
        from .judging.stage import judge_stage

        judge_stage(plan, folder)
        return None
    if stage == "score":
        if kind == "judged":
            from .judging.scoring import score_judged

            return score_judged(plan, folder)
        if kind == "lm_eval":
            from .lm_eval_tasks.results import score_tasks

            return score_tasks(plan, folder)
        if kind == "image_reward":
            from .image_reward.results import score_rewards

            return score_rewards(plan, folder)
        from .scoring import score_stage

        return score_stage(plan, folder)
    if stage == "report":
        from .report import report_stage

        return report_stage(plan, folder)
    raise ValueError(f"unknown stage {stage!r}")
