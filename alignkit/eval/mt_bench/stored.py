"""`alignkit eval score mt_bench`: figures from stored judgements; nothing is judged.

alignkit eval score mt_bench --judgments gpt-4_single.jsonl [MORE ...] [--judge NAME] [--data QUESTIONS] --out DIR
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from .official_files import Judged, read_judgments, read_questions
from .ratings import Rating, by_category, rating_counts, rating_metrics, rating_notes
from .sources import Sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `score`."""
    parser.add_argument(
        "--judgments",
        nargs="+",
        required=True,
        metavar="FILE",
        help="judgment files: model_judgment/JUDGE_single.jsonl",
    )
    parser.add_argument("--judge", metavar="NAME", help="which judge's ratings, where the files hold several")
    parser.add_argument(
        "--data", metavar="PATH", help="questions of one's own, for their categories (default: by official number)"
    )
    parser.add_argument(
        "--num_resamples", type=int, default=10_000, metavar="N", help="bootstrap resamples behind an interval"
    )
    parser.add_argument(
        "--confidence", type=float, default=0.95, metavar="SHARE", help="coverage of the intervals (default: 0.95)"
    )


def score(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The figures by model."""
    del name
    return score_judgments(args.judgments, args.judge, args.data, args.num_resamples, args.confidence)


def score_judgments(
    judgments: Sequence[str | Path],
    judge: str | None = None,
    data: str | None = None,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> dict[str, dict[str, Any]]:
    """Per model: `score` (mean of all ratings that were read, as officially) with `ci_low` and `ci_high` (bootstrap over
    questions), `first_turn`, `second_turn`, counts, and `categories` with the same figures each.

    Args:
        judgments: FastChat's judgment files, ours among them.
        judge: whose ratings; None: those of the only judge there is.
        data: questions, a file or a folder, for their categories; None: by the official numbers.
        num_resamples, confidence: of the intervals.

    Raises:
        InputError: naming file, row and field of what is malformed; for several judges and none named.
    """
    if num_resamples < 1:
        raise InputError(f"num_resamples is {num_resamples}: it must be at least 1")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}: it must be between 0 and 1, such as 0.95")
    questions = read_questions(Sources(data).questions) if data else []
    categories = {own.question_id: own.category for own in questions}
    rows = [own for path in judgments for own in read_judgments(Path(path).expanduser(), categories)]
    models: dict[str, list[Rating]] = {}
    for own in of_judge(rows, judge):
        models.setdefault(own.model, []).append(own.rating)
    scores = {model: figures(models[model], num_resamples, confidence) for model in models}
    return dict(sorted(scores.items(), key=lambda entry: (not entry[1]["n_ratings"], -entry[1]["score"], entry[0])))


def of_judge(rows: Sequence[Judged], judge: str | None) -> list[Judged]:
    """The rows of one judge. Raises `InputError` where it is not clear which."""
    names = sorted({own.judge for own in rows})
    if judge is None and len(names) > 1:
        raise InputError(f"the files hold ratings of several judges, {', '.join(names)}: name one with --judge")
    if judge is not None and judge not in names:
        raise InputError(f"judge is {judge!r}: the ratings are by {', '.join(names)}")
    return [own for own in rows if own.judge == (judge or names[0])]


def figures(ratings: Sequence[Rating], num_resamples: int, confidence: float) -> dict[str, Any]:
    """One model's entry of `scores.json`."""
    metrics = rating_metrics(ratings, num_resamples, confidence)
    overall = metrics.pop("score")
    counts = rating_counts(ratings)
    return {
        "score": overall["value"],
        "ci_low": overall["ci_low"],
        "ci_high": overall["ci_high"],
        **{turn: own["value"] for turn, own in metrics.items()},
        **counts,
        "turns": metrics,
        "categories": by_category(ratings, num_resamples, confidence),
        "notes": rating_notes(counts),
        "settings": {"intervals": "bootstrap over questions", "confidence": confidence, "seed": 0},
    }
