"""AlpacaEval 2's judge call: which answer is shown first, what is asked, and what the first token's probabilities say."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alignkit.judges.templates import fill
from alignkit.judges.verdicts import without_thoughts

from ..judging.benchmark import BASELINE_FIRST, CANDIDATE_FIRST, Verdict
from .package_files import judge_template


if TYPE_CHECKING:
    from alignkit.judges import Completion

# The judge's names for the answer shown first and second.
FIRST, SECOND = "m", "M"
ANNOTATOR_SEED = 0


def shown_order(instruction: str) -> str:
    """The order of the one call about an instruction, drawn from a generator that the instruction seeds.

    The package's rule: `random.Random("is_switched_outputs" + instruction + seed).choices([False, True])`, seed "0".
    """
    draw = random.Random(f"is_switched_outputs{instruction}{ANNOTATOR_SEED}").choices([False, True], k=1)[0]
    return CANDIDATE_FIRST if draw else BASELINE_FIRST


def judge_messages(instruction: str, baseline: str, candidate: str) -> list[dict[str, Any]]:
    """The messages of the call, with the answers in the instruction's order."""
    first, second = (candidate, baseline) if shown_order(instruction) == CANDIDATE_FIRST else (baseline, candidate)
    texts = {"instruction": instruction, "output_1": first, "output_2": second}
    return [{"role": role, "content": fill(template, **texts)} for role, template in judge_template()]


def first_probability(top_logprobs: Mapping[str, float]) -> float | None:
    """p(m) = e^{l_m} / (e^{l_m} + e^{l_M}) among the listed tokens; a missing letter has probability 0, and None where
    both are missing."""
    values = [top_logprobs[letter] for letter in (FIRST, SECOND) if letter in top_logprobs]
    if not values:
        return None
    highest = max(values)
    first, second = (
        math.exp(top_logprobs[letter] - highest) if letter in top_logprobs else 0.0 for letter in (FIRST, SECOND)
    )
    return first / (first + second)


def candidate_share(first: float, order: str) -> float:
    """The candidate's share of the win, from the probability of the answer shown first; preference is 1 more."""
    return first if order == CANDIDATE_FIRST else 1 - first


def read_reply(reply: Completion, order: str, weighted: bool) -> Verdict:
    """The verdict in a reply: weighted by log-probabilities, or, where there are none, the letter alone ("discrete")."""
    if weighted and reply.top_logprobs:
        first = first_probability(reply.top_logprobs[0])
        if first is None:
            return Verdict(None, kind="weighted", error="letters not among the listed tokens")
        label = FIRST if first > 0.5 else SECOND
        return Verdict(candidate_share(first, order), label, "weighted")
    letter = without_thoughts(reply.text).strip(" \t\r\n\"'`.*")
    if letter not in (FIRST, SECOND):
        return Verdict(None, kind="discrete", error=None)
    return Verdict(candidate_share(float(letter == FIRST), order), letter, "discrete")
