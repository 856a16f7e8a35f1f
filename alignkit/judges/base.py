"""The protocol of all judges, and what follows from it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from .conversations import Prompt, Response, check_lengths, digest
from .stats import JudgeStats


class Judge(ABC):
    """Says which of two responses to a prompt is better.

    A subclass gives `identity` and `compare_batch`; a judge that gives numbers is a `ScoringJudge`, one that reads two
    answers at once a `TwoOrderJudge`. Preferences are probabilities: P[n, i, j] is that of response i
    beating response j, P[n, j, i] = 1 - P[n, i, j], 1/2 on the diagonal. A failed judgement is NaN, never a number.
    """

    has_scores = False

    def __init__(self) -> None:
        self.stats = JudgeStats()

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What decides the verdicts, as JSON values: class, model and its revision or file hash, settings."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with anything that may change a verdict; not with the place of a model's folder."""
        return digest(without_places(self.identity()))

    @abstractmethod
    def compare_batch(
        self, prompts: Sequence[Prompt], first: Sequence[Response], second: Sequence[Response]
    ) -> np.ndarray:
        """Probability [M] that `first[m]` beats `second[m]` as a response to `prompts[m]`; NaN where it failed."""

    def compare(self, prompt: Prompt, a: Response, b: Response) -> float:
        """Probability that response `a` beats response `b`; NaN where the judgement failed."""
        return float(self.compare_batch([prompt], [a], [b])[0])

    def judge(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> np.ndarray:
        """Preferences [N, K, K] among the K responses to each of N prompts.

        K is the largest number of responses; where a prompt has fewer, its further rows and columns are NaN. Raises
        `ValueError` where the two arguments differ in length.
        """
        check_lengths(prompts=prompts, responses=responses)
        preferences = empty_preferences(responses)
        places = [
            (n, i, j) for n, group in enumerate(responses) for i in range(len(group)) for j in range(i + 1, len(group))
        ]
        values = self.compare_batch(
            [prompts[n] for n, _, _ in places],
            [responses[n][i] for n, i, _ in places],
            [responses[n][j] for n, _, j in places],
        )
        for (n, i, j), value in zip(places, values, strict=True):
            preferences[n, i, j] = value
            preferences[n, j, i] = 1 - value
        return preferences

    def scores(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> np.ndarray:
        """Rewards [N, K], higher is better, NaN where scoring failed or there is no such response.

        Raises `TypeError` for a judge that only compares (`has_scores` is False).
        """
        raise TypeError(f"{type(self).__name__} compares two responses and has no scores; use judge() or compare().")

    def unload(self) -> None:  # noqa: B027  (most judges hold nothing)
        """Give back what the judge holds in memory; it is loaded again when needed."""


class ScoringJudge(Judge):
    """A judge that gives numbers; preferences follow Bradley-Terry, sigma(s_i - s_j).

    A subclass gives `scores`. Most score one response at a time (`PointwiseJudge`); one may look at all responses to a
    prompt together.
    """

    has_scores = True

    @abstractmethod
    def scores(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> np.ndarray:
        """Rewards [N, K], higher is better, NaN where scoring failed or there is no such response."""

    def judge(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> np.ndarray:
        preferences = self.preferences(self.scores(prompts, responses))
        diagonal = np.arange(preferences.shape[1])
        preferences[:, diagonal, diagonal] = empty_preferences(responses)[:, diagonal, diagonal]
        return preferences

    def compare_batch(
        self, prompts: Sequence[Prompt], first: Sequence[Response], second: Sequence[Response]
    ) -> np.ndarray:
        check_lengths(prompts=prompts, first=first, second=second)
        scores = self.scores(prompts, list(zip(first, second, strict=True)))
        return self.preferences(scores.reshape(-1, 2))[:, 0, 1]

    def preferences(self, scores: np.ndarray) -> np.ndarray:
        """Preferences [N, K, K] that the scores [N, K] imply."""
        import torch

        from alignkit.objectives.rewards import bradley_terry_preferences

        return bradley_terry_preferences(torch.from_numpy(scores)).numpy()


class PointwiseJudge(ScoringJudge):
    """A judge that scores one response at a time."""

    @abstractmethod
    def score_batch(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        """Score [M] of `responses[m]` as a response to `prompts[m]`; NaN where it failed."""

    def scores(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> np.ndarray:
        check_lengths(prompts=prompts, responses=responses)
        sizes = [len(group) for group in responses]
        flat = self.score_batch(
            [prompt for prompt, size in zip(prompts, sizes, strict=True) for _ in range(size)],
            [response for group in responses for response in group],
        )
        scores = np.full((len(sizes), max(sizes, default=0)), np.nan)
        scores[np.arange(scores.shape[1]) < np.array(sizes, dtype=int)[:, None]] = flat
        return scores


def without_places(identity: Any) -> Any:
    """An identity without the names of models whose files are hashed in it: a folder that is moved is the same judge."""
    if isinstance(identity, list):
        return [without_places(item) for item in identity]
    if not isinstance(identity, dict):
        return identity
    dropped = ("model", "base") if "files" in identity else ()
    return {name: without_places(value) for name, value in identity.items() if name not in dropped}


def empty_preferences(responses: Sequence[Sequence[Response]]) -> np.ndarray:
    """[N, K, K] of NaN with 1/2 on the diagonal of the responses that there are."""
    size = max((len(group) for group in responses), default=0)
    preferences = np.full((len(responses), size, size), np.nan)
    for n, group in enumerate(responses):
        diagonal = np.arange(len(group))
        preferences[n, diagonal, diagonal] = 0.5
    return preferences
