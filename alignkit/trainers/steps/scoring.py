"""Scores of responses in [0, 1], by the judge that the run names as its reward."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from tqdm.auto import tqdm

from ...config import Run
from ...errors import InputError
from ...judges import Judge
from ..iterative.judging import build_judge
from .stage import Rows


# Responses scored in one call.
CHUNK_SIZE = 512


def build_reward(run: Run, rows: Rows, cache: str | None = None) -> Judge:
    """The judge that the configuration names as the reward; `cache` keeps replies that have to be paid for.

    Raises `InputError` for a judge that is not there or gives no scores, and a problem without an answer.
    """
    config: Any = SimpleNamespace(judge=run.training.reward, answer_column=run.training.answer_column)
    try:
        judge = build_judge(config, rows, cache)
    except InputError as error:
        raise InputError(f"`reward`: {error}") from None
    if not judge.has_scores:
        raise InputError(f"`reward` is {run.training.reward!r}, which compares two responses and gives no scores.")
    return judge


def score_responses(
    judge: Judge, prompts: Sequence[Any], texts: Sequence[str], description: str
) -> list[float | None]:
    """Score of each response; None where the judge failed.

    Raises `InputError` for a score outside [0, 1]: a value is a probability of being right.
    """
    scores: list[float | None] = []
    with tqdm(desc=description, total=len(texts), unit="response") as bar:
        for start in range(0, len(texts), CHUNK_SIZE):
            chunk = slice(start, start + CHUNK_SIZE)
            for score in judge.scores(list(prompts[chunk]), [[text] for text in texts[chunk]])[:, 0].tolist():
                scores.append(None if math.isnan(score) else checked(score))
            bar.update(len(texts[chunk]))
    judge.unload()
    return scores


def checked(score: float) -> float:
    if not 0 <= score <= 1:
        raise InputError(
            f"the reward gave a response the score {score:g}; the values of states are shares of right answers, so its "
            "scores must lie in [0, 1] (1 right, 0 wrong)."
        )
    return score
