"""Bootstrap distributions of the scores: over questions by default, or over battles as the official code does.

The two games of a question and the three rows of a strong verdict are not independent, so resampling battles, the
official way, gives intervals that are too narrow. Resampling questions keeps what belongs together together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .battles import Battles
from .versions import Version


if TYPE_CHECKING:
    import numpy as np

    from .bradley_terry import Fit

INTERVALS = ("cluster", "official")


def win_shares(battles: Battles, weight: np.ndarray) -> np.ndarray:
    """Weighted share of wins [M] in percent: the Bradley-Terry score where every model meets only the baseline."""
    import numpy as np

    total = np.bincount(battles.model, weights=weight, minlength=len(battles.models))
    won = np.bincount(battles.model, weights=weight * battles.share, minlength=len(battles.models))
    return np.divide(100 * won, total, out=np.full(len(total), np.nan), where=total > 0)


def resample_shares(battles: Battles, version: Version, intervals: str, num_resamples: int, seed: int) -> np.ndarray:
    """Scores without style control under resampling, [R, M] in percent."""
    import numpy as np

    if intervals == "official":
        draws = official_weights(battles, num_resamples, seed, within_models=version.drop_question)
        return np.array([win_shares(battles, weight) for weight in draws])
    num_models, num_questions = len(battles.models), len(battles.questions)
    cell = battles.question * num_models + battles.model
    total = np.bincount(cell, battles.weight, minlength=num_questions * num_models)
    won = np.bincount(cell, battles.weight * battles.share, minlength=num_questions * num_models)
    counts = question_counts(np.random.default_rng(seed), num_questions, num_resamples)
    met = counts @ total.reshape(num_questions, num_models)
    share = 100 * (counts @ won.reshape(num_questions, num_models))
    return np.divide(share, met, out=np.full(met.shape, np.nan), where=met > 0)


def resample_fits(
    battles: Battles, fit: Callable[[np.ndarray], Fit], intervals: str, num_resamples: int, seed: int
) -> np.ndarray:
    """Scores of a style-controlled fit under resampling, [R, M] in percent; NaN where a model is not in the sample.

    Args:
        fit: weights of the battles [n] -> the fit on them.
    """
    import numpy as np
    from scipy.special import expit
    from tqdm import tqdm

    if intervals == "official":
        draws = official_weights(battles, num_resamples, seed)
    else:
        counts = question_counts(np.random.default_rng(seed), len(battles.questions), num_resamples)
        draws = (battles.weight * count[battles.question] for count in counts)
    scores = []
    for weight in tqdm(draws, desc="resampling", unit="fit", total=num_resamples):
        present = np.bincount(battles.model, weights=weight, minlength=len(battles.models)) > 0
        scores.append(np.where(present, 100 * expit(fit(weight).strength), np.nan))
    return np.array(scores)


def question_counts(rng: np.random.Generator, num_questions: int, num_resamples: int) -> np.ndarray:
    """How often each question is drawn, [R, Q]."""
    return rng.multinomial(num_questions, [1 / num_questions] * num_questions, size=num_resamples)


def official_weights(
    battles: Battles, num_resamples: int, seed: int, within_models: bool = False
) -> Iterator[np.ndarray]:
    """How often each battle is drawn, [n] per resample, from numpy's old generator and in the order of the official
    rows, so that the same seed draws the official sample. `within_models`: each model's battles among themselves."""
    import numpy as np

    n = len(battles.weight)
    rows: np.ndarray = np.repeat(np.arange(n), battles.weight.astype(int))
    pools = [rows]
    if within_models:
        pools = [rows[battles.model[rows] == model] for model in range(len(battles.models))]
    rng = np.random.RandomState(seed)
    for _ in range(num_resamples):
        drawn = np.concatenate([pool[rng.randint(0, len(pool), size=len(pool))] for pool in pools])
        yield np.bincount(drawn, minlength=n).astype(float)
