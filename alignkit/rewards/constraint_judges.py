"""A judge of `alignkit.judges` as a constraint: an LLM behind an endpoint, a reward model, a pair model."""

import math
from collections.abc import Sequence
from typing import Any

from alignkit.errors import InputError
from alignkit.judges import Judge

from .judged import JudgeReward, judge_reward


FAILED = ("unknown", "violated")
# A judge that compares: at least as good as the row's reference.
EVEN = 0.5


class JudgeConstraint(JudgeReward):
    """Satisfied where the judge's score (or its probability of beating the row's reference) is at least `at_least`.

    Args:
        judge, reference_column: see `JudgeReward`.
        at_least: smallest satisfying value; needed for a judge that scores, 1/2 for one that compares.
        failed: verdict where the judge gives none, a reply that cannot be read included: `"unknown"` (NaN, never
            satisfied) or `"violated"`. Failures are counted by kind either way.
    """

    def __init__(
        self,
        judge: Judge,
        reference_column: str | None = None,
        at_least: float | None = None,
        failed: str = "unknown",
    ) -> None:
        super().__init__(judge, reference_column)
        if failed not in FAILED:
            raise InputError(f"`failed` is {failed!r}; it must be one of {', '.join(FAILED)}")
        if at_least is None and self.reference_column is None:
            raise InputError("`at_least` is missing: say which score of the judge satisfies the constraint")
        self.at_least = EVEN if at_least is None else float(at_least)
        if math.isnan(self.at_least):
            raise InputError("`at_least` is NaN; it must be a number")
        self.failed = math.nan if failed == "unknown" else 0.0

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        values = super().__call__(prompts, completions, **columns)
        return [self.failed if value is None else float(value >= self.at_least) for value in values]


def judge_constraint(
    spec: str,
    reference_column: str | None = None,
    at_least: float | None = None,
    failed: str = "unknown",
    **settings: Any,
) -> JudgeConstraint:
    """The constraint of the judge that `spec` names, as `judge_reward` reads it."""
    return JudgeConstraint(judge_reward(spec, **settings).judge, reference_column, at_least, failed)
