"""`alignkit eval grade --predictions FILE`: grade answers that exist already, and compare with verdicts stored beside them.

alignkit eval grade --predictions P.jsonl.gz [--gold G.jsonl.gz] [--tolerance 0.01] [--out DIR]

A row holds `response` or `solution` (one answer) or `responses` (several), and its `gold` (or `answer`); or `row`, the
place (from 0) of its gold in the file `--gold`. lm-eval's sample files (`samples_*.jsonl`: `doc`, `target`, `resps`) are
read too. A gold that is a worked solution (GSM8K's `####`, a `\\boxed{}`) is reduced to its answer.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.errors import InputError
from alignkit.rewards.grading import DEADLINE, Grade, GradingPool

from .golds import after_hashes, final_answers, last_box
from .grading import equivalence_groups
from .items import read_rows
from .records import write_atomically
from .stats import bootstrap_mean, group_equivalent, maj_at_k, pass_at_k, powers_up_to


if TYPE_CHECKING:
    import numpy as np

GOLD_COLUMNS = ("gold", "answer", "final_answer", "target", "solution")
ANSWER_COLUMNS = ("responses", "response", "completion", "output", "solution", "resps")


@dataclass(frozen=True)
class Stored:
    """One problem: its gold, its answers, and what is stored beside them (None where nothing is)."""

    gold: str
    answers: list[str]
    verdicts: list[bool] | None
    predictions: list[str | None] | None
    rewards: list[float] | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--predictions", required=True, metavar="FILE", help="the answers, .jsonl, .jsonl.gz or .json")
    parser.add_argument("--gold", metavar="FILE", help="the golds, joined by the predictions' `row`")
    parser.add_argument(
        "--tolerance", type=float, metavar="REL", help="also accept numbers within this relative distance"
    )
    parser.add_argument("--num_workers", type=int, metavar="N", help="grading processes (default: one per core)")
    parser.add_argument(
        "--deadline", type=float, default=DEADLINE, metavar="S", help=f"seconds per answer (default: {DEADLINE:g})"
    )


def grade_predictions(args: argparse.Namespace) -> dict[str, Any]:
    """The figures, in percent: accuracy with its interval, pass@k, maj@k, agreement with stored verdicts, and the same
    figures of the stored verdicts. With `--out`, every grade goes into `grades.jsonl`."""
    import numpy as np

    problems = read_stored(Path(args.predictions), Path(args.gold) if args.gold else None)
    with GradingPool(args.num_workers, args.deadline, args.tolerance) as pool:
        grades = grade_all(problems, pool)
        groups = [
            equivalence_groups([own.extracted if own.status == "ok" else None for own in row], pool) for row in grades
        ]
    correct = np.array([[own.correct for own in row] for row in grades])
    scores = {
        **figures(correct, np.array(groups)),
        "n": len(problems),
        "n_samples": correct.shape[1],
        "n_correct": int(correct.sum()),
        "statuses": dict(sorted(Counter(own.status for row in grades for own in row).items())),
    }
    if all(own.verdicts is not None for own in problems):
        scores |= compare_with_stored(problems, correct)
    if args.out is not None:
        write_grades(Path(args.out) / "grades.jsonl", grades)
    return scores


def figures(correct: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Accuracy (the mean over problems of the share of right samples), pass@k and maj@k, in percent."""
    interval = bootstrap_mean(correct.mean(axis=1), 10_000)
    ks = powers_up_to(correct.shape[1])
    return {
        "accuracy": 100 * interval.value,
        "accuracy_interval": [100 * interval.ci_low, 100 * interval.ci_high],
        "pass_at_k": {str(k): 100 * float(pass_at_k(correct, k).mean()) for k in ks},
        "maj_at_k": {str(k): 100 * float(maj_at_k(correct, groups, k).mean()) for k in ks},
    }


def compare_with_stored(problems: Sequence[Stored], correct: np.ndarray) -> dict[str, Any]:
    """Agreement with the stored verdicts, and the figures that those give; answers are grouped by their stored texts."""
    import numpy as np

    theirs = np.array([own.verdicts for own in problems])
    same = theirs == correct
    stored: dict[str, Any] = {}
    if all(own.predictions is not None for own in problems) or theirs.shape[1] == 1:
        texts = [own.predictions or ["" for _ in own.answers] for own in problems]
        stored = figures(theirs, np.array([group_equivalent(row, lambda first, later: False) for row in texts]))
    if all(own.rewards is not None for own in problems):
        best = np.array([own.rewards for own in problems]).argmax(axis=1)
        stored["best_of_n_by_reward"] = 100 * float(theirs[np.arange(len(best)), best].mean())
    return {"agreement": 100 * float(same.mean()), "n_disagree": int((~same).sum()), "stored": stored}


def grade_all(problems: Sequence[Stored], pool: GradingPool) -> list[list[Grade]]:
    from tqdm.auto import tqdm

    pairs = [(own.gold, text) for own in problems for text in own.answers]
    flat = iter(tqdm(pool.imap(pairs), total=len(pairs), desc="grade", unit="ans"))
    return [[next(flat) for _ in own.answers] for own in problems]


def write_grades(path: Path, grades: Sequence[Sequence[Grade]]) -> None:
    lines = [
        json.dumps({"row": row, "sample": sample, **vars(grade)}) + "\n"
        for row, own in enumerate(grades)
        for sample, grade in enumerate(own)
    ]
    write_atomically(path, "".join(lines))


def read_stored(predictions: Path, golds: Path | None) -> list[Stored]:
    """The problems of a predictions file. Raises `InputError` naming file, row and column."""
    rows = read_rows(predictions)
    gold_rows = read_rows(golds) if golds is not None else None
    if not rows:
        raise InputError(f"{predictions} holds no rows")
    problems = [as_problem(row, number, predictions, gold_rows, golds) for number, row in enumerate(rows)]
    sizes = {len(own.answers) for own in problems}
    if len(sizes) > 1:
        raise InputError(f"{predictions}: rows have {min(sizes)} to {max(sizes)} answers; all must have as many")
    return problems


def as_problem(
    row: dict[str, Any], number: int, predictions: Path, gold_rows: list[dict[str, Any]] | None, golds: Path | None
) -> Stored:
    where = f"{predictions}, row {number} (from 0)"
    source = row
    if gold_rows is not None:
        place = row.get("row", number)
        if not isinstance(place, int) or not 0 <= place < len(gold_rows):
            raise InputError(f"{where}: row is {place!r}; {golds} has rows 0 to {len(gold_rows) - 1}")
        source, where_gold = gold_rows[place], f"{golds}, row {place} (from 0)"
    else:
        where_gold = where
    # A prediction's own `solution` is its answer, never its gold.
    columns = GOLD_COLUMNS if gold_rows is not None else GOLD_COLUMNS[:-1]
    value = next((source[name] for name in columns if source.get(name) is not None), None)
    if value is None:
        hint = "" if gold_rows is not None else "; or give the golds with --gold, joined by the column `row`"
        raise InputError(f"{where_gold}: none of the columns {', '.join(columns)} has a gold{hint}")
    answers = answers_of(row, where)
    verdicts = row.get("is_correct")
    return Stored(
        gold=as_gold(value, where_gold),
        answers=answers,
        verdicts=None if verdicts is None else aligned(verdicts, len(answers), "is_correct", where),
        predictions=aligned(row["preds"], len(answers), "preds", where) if "preds" in row else None,
        rewards=aligned(row["reward_model_scores"], len(answers), "reward_model_scores", where)
        if "reward_model_scores" in row
        else None,
    )


def answers_of(row: dict[str, Any], where: str) -> list[str]:
    """The answers of a row; lm-eval nests them one deeper."""
    value = next((row[name] for name in ANSWER_COLUMNS if row.get(name) is not None), None)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    answers = [value] if isinstance(value, str) else value
    if not isinstance(answers, list) or not answers or not all(isinstance(text, str) for text in answers):
        raise InputError(
            f"{where}: none of the columns {', '.join(ANSWER_COLUMNS)} has an answer (text, or a list of it)"
        )
    return answers


def as_gold(value: Any, where: str) -> str:
    """The answer in a gold, whichever way it is written."""
    text = str(value)
    rule: Callable[[Any], str] = str.strip
    if isinstance(value, list):
        rule = final_answers
    elif "####" in text:
        rule = after_hashes
    elif "\\boxed{" in text:
        rule = last_box
    try:
        return rule(value if isinstance(value, list) else text)
    except ValueError as error:
        raise InputError(f"{where}: no gold in {text[:80]!r}: {error}") from error


def aligned(value: Any, size: int, name: str, where: str) -> list[Any]:
    """A stored column with one value per answer."""
    values = value if isinstance(value, list) else [value]
    if len(values) != size:
        raise InputError(f"{where}: {name} has {len(values)} values for {size} answers")
    return values
