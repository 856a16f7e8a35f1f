"""From verdicts to battles: who met whom on which question, for what share of a win."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alignkit.errors import InputError

from .verdicts import VERDICTS
from .versions import Version


if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Game:
    """The two games of one question as one judge sees them: game 0 shows the baseline as A, game 1 the candidate.

    `verdicts` holds one of `VERDICTS` per game, or None for a null game.
    """

    model: str
    question: str
    verdicts: tuple[str | None, str | None]
    judge: str = ""


@dataclass(frozen=True)
class Battles:
    """Battles of candidates against one baseline, as arrays over the rows (equal rows are one row with a weight).

    Attributes:
        models, questions: names behind the numbers in `model` and `question`.
        baseline: the model they all meet.
        model, question: [n] int.
        share: [n] the candidate's share of the win: 1, 0.5 or 0.
        weight: [n] number of identical battles that the row stands for.
        null_games, dropped: per model, games without a verdict, and games left out because of them.
    """

    models: tuple[str, ...]
    questions: tuple[str, ...]
    baseline: str
    model: np.ndarray
    question: np.ndarray
    share: np.ndarray
    weight: np.ndarray
    null_games: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


def battles_of(games: Sequence[Game], baseline: str, version: Version) -> Battles:
    """The battles of games under a version's null rule: v0.1 drops a null game, v2.0 its whole question.

    A model without any verdict is not among the battles' models. Raises `InputError` where the baseline plays against
    itself.
    """
    null: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    rows = []
    for game in games:
        if game.model == baseline:
            raise InputError(f"{baseline} is both the baseline and a judged model: give another baseline")
        missing = sum(verdict is None for verdict in game.verdicts)
        null[game.model] += missing
        dropped[game.model] += 2 if missing and version.drop_question else missing
        if missing and version.drop_question:
            continue
        for place in (1, 0) if version.drop_question else (0, 1):  # the order of each version's rows
            if (verdict := game.verdicts[place]) is not None:
                share, weight = VERDICTS[verdict]
                rows.append((game.model, game.question, share if place else 1 - share, weight))
    return number_names(rows, baseline, null, dropped)


def number_names(
    rows: list[tuple[str, str, float, int]],
    baseline: str,
    null: Counter[str] | None = None,
    dropped: Counter[str] | None = None,
) -> Battles:
    """Battles from rows of model, question, share and weight."""
    import numpy as np

    models = tuple(sorted({row[0] for row in rows}))
    questions = tuple(sorted({row[1] for row in rows}))
    model_number = {name: place for place, name in enumerate(models)}
    question_number = {name: place for place, name in enumerate(questions)}
    return Battles(
        models=models,
        questions=questions,
        baseline=baseline,
        model=np.array([model_number[row[0]] for row in rows], dtype=np.int64),
        question=np.array([question_number[row[1]] for row in rows], dtype=np.int64),
        share=np.array([row[2] for row in rows], dtype=np.float64),
        weight=np.array([row[3] for row in rows], dtype=np.float64),
        null_games=null or Counter(),
        dropped=dropped or Counter(),
    )
