"""The judge of a run, made from its configuration, and what it is asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.bundled import resolve_model
from ...errors import InputError
from ...judges import ExactAnswerJudge, Judge, ScoringJudge, load_judge
from ...judges.spec import KINDS
from ...rewards import GradingPool


EXACT_ANSWER = "exact_answer"


def build_judge(config: Any, rows: Sequence[dict[str, Any]], cache: str | None = None) -> Judge:
    """The judge that `config.judge` names; `rows` are all prompts that will be judged.

    `cache` is the file for the replies that have to be paid for, of judges that name none of their own.

    Raises `InputError` for a judge that is not there, or a prompt without an answer for `"exact_answer"`.
    """
    if config.judge != EXACT_ANSWER:
        named = {"judge": config.judge} if config.judge in KINDS and KINDS[config.judge][1] is None else config.judge
        return load_judge(named, resolve=resolve_model, cache=cache)
    column = config.answer_column
    for place, row in enumerate(rows):
        if row.get(column) is None:
            raise InputError(
                f"prompt {place} (counted from 0) has no value in the column {column!r} (`answer_column`), which the "
                f"judge {EXACT_ANSWER!r} needs; the columns are {', '.join(sorted(row))}."
            )
    pool = GradingPool()

    def grade(pairs: list[tuple[str, str]]) -> list[bool | None]:
        return [None if item.status == "bad_gold" else item.correct for item in pool.grade(pairs)]

    prompts, answers = [row["prompt"] for row in rows], [str(row[column]) for row in rows]
    return ExactAnswerJudge(prompts, answers, grade, grader_name="math_verify")


def judgements_of(
    judge: Judge, output: str, prompts: list, responses: list[list[str]]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(preferences [N, K, K], scores [N, K]) for N prompts with K responses each; None where not asked for.

    A judge with scores gives them, and the preferences they imply; one without is asked for all comparisons, or, for
    "tournament", for those of the knock-out only (the others stay NaN).
    """
    if isinstance(judge, ScoringJudge):
        scores = judge.scores(prompts, responses)
        if output == "scores":
            return None, scores
        # The judge's own rule, without scoring a second time.
        return judge.preferences(scores), scores
    if output == "tournament":
        return tournament_preferences(judge, prompts, responses), None
    return judge.judge(prompts, responses), None


def tournament_preferences(judge: Judge, prompts: list, responses: list[list[str]]) -> np.ndarray:
    """Preferences [N, K, K] of which only the 3K/2 - 1 comparisons of INPO's tournament are judged; the rest is NaN.

    Every round is one call for all prompts: neighbours meet, then winners meet winners and losers meet losers (the
    loser goes on), at last the winner meets the loser. At 1/2 the first of the two wins, as in `inpo_tournament`.
    """
    size = len(responses[0])
    preferences = np.full((len(prompts), size, size), np.nan)
    preferences[:, np.arange(size), np.arange(size)] = 0.5

    def play(brackets: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
        """Winners and losers of neighbouring players in each prompt's bracket."""
        places = [
            (n, players[i], players[i + 1]) for n, players in enumerate(brackets) for i in range(0, len(players), 2)
        ]
        values = judge.compare_batch(
            [prompts[n] for n, _, _ in places],
            [responses[n][i] for n, i, _ in places],
            [responses[n][j] for n, _, j in places],
        )
        winners: list[list[int]] = [[] for _ in brackets]
        losers: list[list[int]] = [[] for _ in brackets]
        for (n, i, j), value in zip(places, values, strict=True):
            preferences[n, i, j], preferences[n, j, i] = value, 1 - value
            first_wins = value >= 0.5
            winners[n].append(i if first_wins else j)
            losers[n].append(j if first_wins else i)
        return winners, losers

    winners, losers = play([list(range(size)) for _ in prompts])
    while len(winners[0]) > 1:
        winners, losers = play(winners)[0], play(losers)[1]
    play([[winner[0], loser[0]] for winner, loser in zip(winners, losers, strict=True)])
    return preferences
