"""Stage 2: verdicts. Writes `grades/<run>-<grader>.jsonl` and, with several samples, `votes/<run>-<grader>.jsonl`."""

import logging
from collections.abc import Iterator
from pathlib import Path

from alignkit.errors import InputError
from alignkit.rewards.grading import GradingPool

from .fingerprints import digest, text_hash
from .generating import read_generations
from .items import Item
from .plan import Plan, Run
from .records import Record, RecordLog
from .stats import group_equivalent


logger = logging.getLogger(__name__)

Graded = list[tuple[Item, list[Record], list[Record]]]


def grade_stage(plan: Plan, folder: Path) -> None:
    """Grade every completion of the plan that has no grade on disk yet."""
    options = plan.options
    with GradingPool(options.num_workers, options.deadline, plan.tolerance) as pool:
        for run in plan.runs:
            grade_run(plan, run, folder, pool)
            if plan.n_samples > 1:
                vote_run(plan, run, folder, pool)


def grade_run(plan: Plan, run: Run, folder: Path, pool: GradingPool) -> None:
    """Grade the missing completions of one model."""
    from tqdm.auto import tqdm

    with grade_log(plan, run, folder) as log:
        todo = [
            (item, record)
            for item, records in read_generations(plan, run, folder)
            for record in records
            if grade_key(item, record) not in log
        ]
        if not todo:
            return
        grades = pool.imap((item.gold, record["text"]) for item, record in todo)
        bar = tqdm(
            zip(todo, grades, strict=True), desc=f"{plan.suite.name}: grade {run.label}", total=len(todo), unit="ans"
        )
        for (item, record), grade in bar:
            item_id, sample, text_hash, gold_hash = grade_key(item, record)
            log.append(
                {
                    "item_id": item_id,
                    "sample_index": sample,
                    "text_hash": text_hash,
                    "gold_hash": gold_hash,
                    "correct": grade.correct,
                    "status": grade.status,
                    "extracted": grade.extracted,
                    "fingerprint": run.fingerprint,
                    "grader": grader_settings(plan)["grader"],
                }
            )


def vote_run(plan: Plan, run: Run, folder: Path, pool: GradingPool) -> None:
    """Find which answers of an item are equivalent, for maj@k."""
    from tqdm.auto import tqdm

    with vote_log(plan, run, folder) as log:
        todo = [row for row in read_grades(plan, run, folder) if vote_key(row[0], row[2]) not in log]
        for item, _, grades in tqdm(todo, desc=f"{plan.suite.name}: vote {run.label}", unit="item", disable=not todo):
            answers = [grade["extracted"] if grade["status"] == "ok" else None for grade in grades]
            log.append(
                {
                    "item_id": item.item_id,
                    "key": vote_key(item, grades)[1],
                    "groups": equivalence_groups(answers, pool),
                    "fingerprint": run.fingerprint,
                }
            )


def equivalence_groups(answers: list[str | None], pool: GradingPool) -> list[int]:
    """Number the answers of one item by mathematical equivalence, the earlier one taken as gold; None is -1."""
    distinct = list(dict.fromkeys(answer for answer in answers if answer is not None))
    pairs = [(first, later) for place, later in enumerate(distinct) for first in distinct[:place]]
    verdicts = pool.grade([(first, f"\\boxed{{{later}}}") for first, later in pairs])
    same = {pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.correct}
    return group_equivalent(answers, lambda first, later: (first, later) in same)


def read_grades(plan: Plan, run: Run, folder: Path) -> Graded:
    """Every item with its completions and their grades. Raises `InputError` if some are missing."""
    log = grade_log(plan, run, folder)
    rows = []
    missing = 0
    for item, records in read_generations(plan, run, folder):
        keys = [grade_key(item, record) for record in records]
        missing += sum(key not in log for key in keys)
        rows.append((item, records, [log.records.get(key, {}) for key in keys]))
    if missing:
        raise InputError(f"{missing} completions of {run.name} have no grade in {log.path}: run `alignkit eval grade`")
    return rows


def read_votes(plan: Plan, run: Run, folder: Path, rows: Graded) -> Iterator[list[int]]:
    """The equivalence groups of every item's samples."""
    log = vote_log(plan, run, folder)
    for item, _, grades in rows:
        key = vote_key(item, grades)
        if key not in log:
            raise InputError(f"item {item.item_id} of {run.name} has no vote in {log.path}: run `alignkit eval grade`")
        yield log[key]["groups"]


def grader_settings(plan: Plan) -> dict[str, object]:
    """What decides a verdict, beside gold and text."""
    from importlib.metadata import version

    return {
        "grader": f"math-verify {version('math-verify')}",
        "tolerance": plan.tolerance,
        "deadline": plan.options.deadline,
    }


def grade_log(plan: Plan, run: Run, folder: Path) -> RecordLog:
    path = folder / "grades" / f"{run.fingerprint}-{digest(grader_settings(plan))}.jsonl"
    names = ("item_id", "sample_index", "text_hash", "gold_hash")
    return RecordLog(path, lambda record: tuple(record[name] for name in names))


def vote_log(plan: Plan, run: Run, folder: Path) -> RecordLog:
    path = folder / "votes" / f"{run.fingerprint}-{digest(grader_settings(plan))}.jsonl"
    return RecordLog(path, lambda record: (record["item_id"], record["key"]))


def grade_key(item: Item, record: Record) -> tuple[str, int, str, str]:
    return record["item_id"], record["sample_index"], text_hash(record["text"]), text_hash(item.gold)


def vote_key(item: Item, grades: list[Record]) -> tuple[str, str]:
    return item.item_id, digest([[grade["status"], grade["extracted"]] for grade in grades])
