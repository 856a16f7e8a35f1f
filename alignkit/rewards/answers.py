r"""Rewards for right answers: math-verify in killable workers, and plain equality."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from .grading import DEADLINE, GradingPool, MathAccuracyReward
from .texts import closing_brace, completion_text, read_column


# Where a final answer stands, most certain first: a box, then these marks.
MARKS = (
    re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE),
    re.compile(r"####[ \t]*([^\n]+)"),
    re.compile(r"^[*\s]*(?:final )?answer(?: is)?\s*[:=][*\s]*([^\n]+)$", re.MULTILINE | re.IGNORECASE),
)


@lru_cache
def shared_pool(
    num_workers: int | None = None, deadline: float = DEADLINE, tolerance: float | None = None
) -> GradingPool:
    """One pool for all rewards with the same settings."""
    return GradingPool(num_workers, deadline, tolerance)


def math_accuracy(
    column: str = "answer",
    num_workers: int | None = None,
    answer_deadline: float = DEADLINE,
    tolerance: float | None = None,
) -> MathAccuracyReward:
    """1 where math-verify finds the answer equal to the gold in `column`, else 0; None where the gold is unreadable.

    Args:
        num_workers: grading processes; None: one per core, 8 at most.
        answer_deadline: seconds of processor time for one answer, which is then wrong ("timeout").
        tolerance: also accept numbers within this relative distance of the gold.
    """
    return MathAccuracyReward(shared_pool(num_workers, answer_deadline, tolerance), column)


class ExactAnswerReward:
    r"""1 where the final answer equals the gold in `column` as text, else 0; None where the gold is missing or empty.

    The final answer is the last `\boxed{}`, else what stands in `<answer></answer>`, after `####` or after `Answer:`
    (the last such place). Both sides lose case, spaces, dollar signs, thousands separators and a final full stop. A
    completion without a final answer is 0, counted as "unparsable".
    """

    count_kinds = ("unparsable",)

    def __init__(self, column: str = "answer") -> None:
        self.column = column
        self.counts: Counter[str] = Counter()
        self.__name__ = "exact_answer"

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        golds = read_column(self.__name__, self.column, columns)
        return [self.score(completion_text(item), gold) for item, gold in zip(completions, golds, strict=True)]

    def score(self, text: str, gold: Any) -> float | None:
        if gold is None or not normal_answer(str(gold)):
            return None
        answer = final_answer(text)
        self.counts["unparsable"] += answer is None
        return float(answer is not None and normal_answer(answer) == normal_answer(str(gold)))


def final_answer(text: str) -> str | None:
    """The final answer of a completion as text; None where no mark says which it is."""
    boxes = boxed_answers(text)
    if boxes:
        return boxes[-1]
    for mark in MARKS:
        found = mark.findall(text)
        if found:
            return found[-1]
    return None


def boxed_answers(text: str) -> list[str]:
    r"""The contents of every closed `\boxed{}` that stands in no other, in order."""
    answers = []
    place = text.find("\\boxed{")
    while place >= 0:
        begin = place + len("\\boxed{")
        end = closing_brace(text, begin)
        if end is not None:
            answers.append(text[begin:end])
        place = text.find("\\boxed{", begin if end is None else end)
    return answers


def normal_answer(text: str) -> str:
    text = re.sub(r"\\[,;!: ]|\\text\s*(?=\{)|(?<!\\)\$|\s", "", text).casefold().rstrip(".")
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
