r"""Length rewards. A length is the number of completion tokens, `len(completion_ids[i])`, the end token included."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from alignkit.errors import InputError

from .answers import math_accuracy
from .grading import DEADLINE, MathAccuracyReward


def soft_overlong(max_completion_length: int, soft_punish_cache: int) -> Callable[..., list[float]]:
    r"""DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13), as TRL computes it.

    0 up to \( L_{max} - L_{cache} \), then falling linearly to -1 at \( L_{max} \), and -1 beyond. TRL cuts completions
    at its `max_completion_length`, so \( L_{max} \) should not be above it. Raises `InputError` unless
    0 <= soft_punish_cache <= max_completion_length and the latter is above 0.
    """
    check_length("soft_overlong", max_completion_length)
    if not 0 <= soft_punish_cache <= max_completion_length:
        raise InputError(
            f"soft_overlong: soft_punish_cache is {soft_punish_cache}; it must be in [0, {max_completion_length}], up "
            "to max_completion_length"
        )
    from trl.rewards import get_soft_overlong_punishment

    return get_soft_overlong_punishment(max_completion_length, soft_punish_cache)


class CosineLengthReward:
    r"""A correctness reward that depends on the length along a cosine (arXiv 2502.03373, appendix C.1).

    \( R = r_L + \frac12 (r_0 - r_L)(1 + \cos(\pi \min(L, L_{max}) / L_{max})) \): r_0 at length 0, r_L at L_max, one pair
    for right answers and one for wrong ones. With the defaults a right answer is worth more when short, a wrong one is
    punished less when long. Correctness is `math_accuracy`; None where that is None. The default values are those of
    TRL's `get_cosine_scaled_reward`, not the paper's.

    Args:
        max_completion_length: L_max, in tokens.
        correct, wrong: (r_0, r_L).
        exceed: reward of a completion of L_max tokens or more, right or wrong (the paper's r_e); None: no such rule.
        column, num_workers, answer_deadline, tolerance: of `math_accuracy`.
    """

    count_kinds = MathAccuracyReward.count_kinds
    ends_by_itself = True

    def __init__(
        self,
        max_completion_length: int,
        correct: Sequence[float] = (1.0, 0.5),
        wrong: Sequence[float] = (-1.0, -0.5),
        exceed: float | None = None,
        column: str = "answer",
        num_workers: int | None = None,
        answer_deadline: float = DEADLINE,
        tolerance: float | None = None,
    ) -> None:
        check_length("cosine_length", max_completion_length)
        for name, pair in (("correct", correct), ("wrong", wrong)):
            if len(pair) != 2 or not all(math.isfinite(value) for value in pair):
                raise InputError(f"cosine_length: {name} is {pair}; give two numbers, at length 0 and at the longest")
        self.max_completion_length = max_completion_length
        self.correct, self.wrong, self.exceed = tuple(correct), tuple(wrong), exceed
        self.accuracy = math_accuracy(column, num_workers, answer_deadline, tolerance)
        self.counts = self.accuracy.counts
        self.__name__ = "cosine_length"

    def __call__(
        self, completions: Sequence[Any], completion_ids: Sequence[Sequence[int]], **columns: Any
    ) -> list[float | None]:
        grades = self.accuracy(completions, **columns)
        return [
            None if grade is None else self.reward(grade > 0, len(ids))
            for grade, ids in zip(grades, completion_ids, strict=True)
        ]

    def reward(self, is_correct: bool, length: int) -> float:
        if self.exceed is not None and length >= self.max_completion_length:
            return self.exceed
        start, end = self.correct if is_correct else self.wrong
        progress = min(length / self.max_completion_length, 1.0)
        return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


class BrevityReward:
    r"""\( 1 - \min(L, L_{max}) / L_{max} \): 1 for an empty completion, 0 at `max_completion_length` tokens (ours)."""

    def __init__(self, max_completion_length: int) -> None:
        check_length("brevity", max_completion_length)
        self.max_completion_length = max_completion_length
        self.__name__ = "brevity"

    def __call__(self, completion_ids: Sequence[Sequence[int]], **columns: Any) -> list[float]:
        return [1 - min(len(ids) / self.max_completion_length, 1.0) for ids in completion_ids]


def check_length(name: str, length: int) -> None:
    if not length > 0:
        raise InputError(f"{name}: max_completion_length is {length}; it must be above 0, in tokens")
