"""Judges that need no model: right answer, pattern, length."""

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alignkit.errors import InputError

from .base import PointwiseJudge
from .conversations import Prompt, Response, as_text, canonical, check_lengths, digest


class RuleJudge(PointwiseJudge):
    """A rule: of two responses the one with the higher score wins for certain (1), equal scores tie (1/2)."""

    def preferences(self, scores: np.ndarray) -> np.ndarray:
        return (1 + np.sign(scores[:, :, None] - scores[:, None, :])) / 2


class TextRule(RuleJudge):
    """A rule that looks at the text of a response and at nothing else."""

    @abstractmethod
    def score(self, response: str) -> float:
        """Score of one response text."""

    def score_batch(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        check_lengths(prompts=prompts, responses=responses)
        self.stats.calls += len(responses)
        return np.array([self.score(as_text(response)) for response in responses], dtype=float)


class RegexJudge(TextRule):
    """Scores 1 where `pattern` is found in the response, else 0; the other way round with `match_is_good=False`."""

    def __init__(self, pattern: str, match_is_good: bool = True) -> None:
        super().__init__()
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise InputError(f"pattern {pattern!r} is no regular expression: {error}") from error
        self.match_is_good = match_is_good

    def identity(self) -> dict[str, Any]:
        return {"judge": "regex", "pattern": self.pattern.pattern, "match_is_good": self.match_is_good}

    def score(self, response: str) -> float:
        return float((self.pattern.search(response) is not None) == self.match_is_good)


class LengthJudge(TextRule):
    """Scores minus the distance of the response's length from `target`, in characters or words.

    `target` 0 prefers the shorter, infinity the longer (the score is then the length itself).
    """

    UNITS = ("characters", "words")

    def __init__(self, target: float = 0, unit: str = "characters") -> None:
        super().__init__()
        if unit not in self.UNITS:
            raise InputError(f"unit is {unit!r}: it must be one of {', '.join(self.UNITS)}")
        if not target >= 0:
            raise InputError(f"target is {target}: it must be a length, 0 or more")
        self.target = float(target)
        self.unit = unit

    def identity(self) -> dict[str, Any]:
        return {"judge": "length", "target": str(self.target), "unit": self.unit}

    def score(self, response: str) -> float:
        length = len(response) if self.unit == "characters" else len(response.split())
        return float(length) if math.isinf(self.target) else -abs(length - self.target)


# (gold, response) pairs -> one score each (True/1 right, False/0 wrong); None: could not be graded.
Grader = Callable[[list[tuple[str, str]]], Sequence[float | bool | None]]


class ExactAnswerJudge(RuleJudge):
    """Scores 1 for a right answer and 0 for a wrong one; the grader decides, for example math-verify's pool.

    Args:
        prompts: the prompts that will be judged.
        answers: the right answer to each of them.
        grader: takes (answer, response) pairs and gives one score each; None is a failure of the kind "ungraded".
            With `alignkit.rewards.GradingPool`: `lambda pairs: [grade.correct for grade in pool.grade(pairs)]`.
        grader_name: names the grader in the fingerprint.

    Raises `InputError` for a prompt with two answers, or one that is judged without an answer.
    """

    def __init__(
        self, prompts: Sequence[Prompt], answers: Sequence[str], grader: Grader, grader_name: str = "exact_answer"
    ) -> None:
        super().__init__()
        check_lengths(prompts=prompts, answers=answers)
        self.answers: dict[str, str] = {}
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            known = self.answers.setdefault(canonical(prompt), answer)
            if known != answer:
                raise InputError(
                    f"row {row} (counted from 0): the prompt has the answer {answer!r} here and {known!r} before"
                )
        self.grader = grader
        self.grader_name = grader_name

    def identity(self) -> dict[str, Any]:
        return {"judge": "exact_answer", "grader": self.grader_name, "answers": digest(self.answers)}

    def score_batch(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        check_lengths(prompts=prompts, responses=responses)
        pairs = []
        for prompt, response in zip(prompts, responses, strict=True):
            answer = self.answers.get(canonical(prompt))
            if answer is None:
                raise InputError(f"no answer is known for the prompt {as_text(prompt)[:80]!r}")
            pairs.append((answer, as_text(response)))
        grades = list(self.grader(pairs))
        check_lengths(pairs=pairs, grades=grades)
        self.stats.calls += len(pairs)
        failed = sum(grade is None for grade in grades)
        if failed:
            self.stats.failures["ungraded"] += failed
        return np.array([math.nan if grade is None else float(grade) for grade in grades], dtype=float)
