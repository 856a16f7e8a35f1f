"""What the judge's reply says, and the figures of many replies, as FastChat's `common.py` and `show_result.py` have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..stats import bootstrap_mean


LOWEST, HIGHEST = 1, 10
# What FastChat's files hold where a reply has no rating.
UNREAD = -1
DOUBLE_BRACKETS = re.compile(r"\[\[(\d+\.?\d*)\]\]")
SINGLE_BRACKETS = re.compile(r"\[(\d+\.?\d*)\]")
TURNS = {1: "first_turn", 2: "second_turn"}


@dataclass(frozen=True)
class Rating:
    """The rating of one answer; `value` is None where the judge's reply holds none."""

    question: str
    turn: int
    category: str
    value: float | None


def parse_rating(text: str) -> tuple[str, str] | None:
    """The rating in a reply as it is written, and "double" or "single" for the brackets around it; None without one.

    The first number in double brackets counts, and where there is none the first in single ones (an index such as `a[0]`
    is taken for a rating then, officially too). It may be outside 1 to 10: officially it counts all the same.
    """
    for kind, pattern in (("double", DOUBLE_BRACKETS), ("single", SINGLE_BRACKETS)):
        if match := pattern.search(text):
            return match.group(1), kind
    return None


def rating_metrics(ratings: Sequence[Rating], num_resamples: int, confidence: float) -> dict[str, dict[str, float]]:
    """`score`, the mean over all ratings of both turns, and the mean of each turn, with intervals. Answers without a rating
    are left out, as officially."""
    groups = {"score": list(ratings)}
    groups |= {name: [own for own in ratings if own.turn == turn] for turn, name in TURNS.items()}
    found = {name: mean_rating(members, num_resamples, confidence) for name, members in groups.items()}
    return {name: own for name, own in found.items() if name == "score" or own["n"]}


def mean_rating(ratings: Sequence[Rating], num_resamples: int, confidence: float) -> dict[str, float]:
    """The mean of the ratings that there are, its bootstrap interval and their number `n`; NaN where there is none. Whole
    questions are drawn: the ratings of a question's two turns are not independent."""
    import numpy as np

    rated = [(own.question, own.value) for own in ratings if own.value is not None]
    if not rated:
        return {"value": float("nan"), "ci_low": float("nan"), "ci_high": float("nan"), "n": 0}
    questions, values = zip(*rated, strict=True)
    found = bootstrap_mean(np.array(values), num_resamples, confidence, clusters=questions)
    return {**vars(found), "n": len(rated)}


def rating_counts(ratings: Sequence[Rating]) -> dict[str, int]:
    """How much was rated, and what is wrong with the rest."""
    values = [own.value for own in ratings if own.value is not None]
    answers = Counter((own.question, own.turn) for own in ratings)
    return {
        "n_questions": len({own.question for own in ratings}),
        "n_ratings": len(values),
        "n_unread": len(ratings) - len(values),
        "n_out_of_range": sum(not LOWEST <= value <= HIGHEST for value in values),
        "n_duplicates": sum(count - 1 for count in answers.values()),
    }


def rating_notes(counts: dict[str, int]) -> list[str]:
    """What the reader of the figures must know."""
    notes = []
    if counts["n_out_of_range"]:
        notes.append(
            f"{counts['n_out_of_range']} ratings are outside {LOWEST} to {HIGHEST}; they count as they are, as officially."
        )
    if counts["n_duplicates"]:
        notes.append(
            f"{counts['n_duplicates']} answers are rated again in the same file; all ratings count, as officially."
        )
    return notes


def number(text: str) -> int | float:
    """A written rating as FastChat's files hold it."""
    return float(text) if "." in text else int(text)


def by_category(ratings: Sequence[Rating], num_resamples: int, confidence: float) -> dict[str, Any]:
    """The same figures per category."""
    names = sorted({own.category for own in ratings if own.category})
    groups = {name: [own for own in ratings if own.category == name] for name in names}
    return {name: rating_metrics(members, num_resamples, confidence) for name, members in groups.items()}
