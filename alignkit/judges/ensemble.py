"""Several judges as one: rewards combined (mean, worst, uncertainty-penalised), or preferences averaged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alignkit.errors import InputError

from .base import Judge, PointwiseJudge
from .conversations import Prompt, Response, check_lengths
from .stats import JudgeStats


class EnsembleJudge(PointwiseJudge):
    """Scores with K judges and combines (arXiv 2310.02743): "mean", "wco" (minimum) or "uwo" (mean - coef * variance).

    A member that fails on a response is left out of it; all failing is NaN. WCO and UWO compare the members' values, so
    they must be on one scale: `calibrate` brings them there. UWO's penalty grows with the square of the scale.

    Args:
        judges: the members; all must have scores.
        objective: see above.
        coef: weight of the variance for "uwo", 0 or more.
        unbiased: sample variance instead of the population's.
        normalization: (mean, standard deviation) of each member, as `calibrate` finds them; None: scores as they are.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        objective: str = "mean",
        coef: float = 0.1,
        unbiased: bool = False,
        normalization: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        require_members(judges)
        lacking = [type(judge).__name__ for judge in judges if not judge.has_scores]
        if lacking:
            raise InputError(f"member {lacking[0]} compares only and has no scores: use a VotingJudge")
        check_objective(objective, coef)
        if normalization is not None:
            check_lengths(judges=judges, normalization=normalization)
        self.judges = list(judges)
        self.objective, self.coef, self.unbiased = objective, coef, unbiased
        self.normalization = None if normalization is None else [(float(m), float(s)) for m, s in normalization]
        self.stats = JudgeStats(parts=[judge.stats for judge in self.judges])

    def identity(self) -> dict[str, Any]:
        return {
            "judge": "ensemble",
            "members": [judge.identity() for judge in self.judges],
            "objective": self.objective,
            "coef": self.coef if self.objective == "uwo" else None,
            "unbiased": self.unbiased if self.objective == "uwo" else None,
            "normalization": self.normalization,
        }

    def score_batch(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        check_lengths(prompts=prompts, responses=responses)
        if not len(prompts):
            return np.empty(0)
        return self.combined(self.member_scores(prompts, responses))

    def member_scores(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        """Scores [M, K] of the K members on one scale, NaN where one failed."""
        columns = self._raw_scores(prompts, responses)
        if self.normalization is None:
            return columns
        mean, std = np.array(self.normalization).T
        return (columns - mean) / std

    def combined(self, columns: np.ndarray) -> np.ndarray:
        """Scores [M] of what `member_scores` gave; a response that no member scored is NaN, kind "no_member"."""
        scores = combine(columns, self.objective, self.coef, self.unbiased)
        failed = int(np.isnan(scores).sum())
        if failed:
            self.stats.failures["no_member"] += failed
        return scores

    def calibrate(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[tuple[float, float]]:
        """Set `normalization` to the mean and standard deviation of each member's scores on these responses."""
        columns = self._raw_scores(prompts, responses)
        normalization = list(zip(np.nanmean(columns, axis=0), np.nanstd(columns, axis=0), strict=True))
        for judge, (_, std) in zip(self.judges, normalization, strict=True):
            if not std > 0:
                raise InputError(
                    f"member {type(judge).__name__} gives all calibration responses the same score: its scale is unknown"
                )
        self.normalization = [(float(mean), float(std)) for mean, std in normalization]
        return self.normalization

    def unload(self) -> None:
        for judge in self.judges:
            judge.unload()

    def _raw_scores(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        """Scores [M, K] of the K members, as they are."""
        groups = [[response] for response in responses]
        return np.stack([judge.scores(prompts, groups)[:, 0] for judge in self.judges], axis=1)


class VotingJudge(Judge):
    """The mean of the members' preferences; a member that fails on a pair is left out of it."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        super().__init__()
        require_members(judges)
        self.judges = list(judges)
        self.stats = JudgeStats(parts=[judge.stats for judge in self.judges])

    def identity(self) -> dict[str, Any]:
        return {"judge": "vote", "members": [judge.identity() for judge in self.judges]}

    def compare_batch(
        self, prompts: Sequence[Prompt], first: Sequence[Response], second: Sequence[Response]
    ) -> np.ndarray:
        columns = np.stack([judge.compare_batch(prompts, first, second) for judge in self.judges], axis=1)
        present = ~np.isnan(columns)
        counts = present.sum(axis=1)
        self.stats.failures["no_member"] += int((counts == 0).sum())
        return np.where(counts > 0, np.where(present, columns, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)

    def unload(self) -> None:
        for judge in self.judges:
            judge.unload()


def combine(columns: np.ndarray, objective: str, coef: float, unbiased: bool = False) -> np.ndarray:
    """Scores [M, K] of K members -> [M], by `objectives.rewards.reward_ensemble`."""
    import torch

    from alignkit.objectives.rewards import reward_ensemble

    return reward_ensemble(torch.from_numpy(columns), objective=objective, coef=coef, unbiased=unbiased).numpy()


def check_objective(objective: str, coef: float) -> None:
    """Raise `InputError` for an unknown objective or a coefficient out of range."""
    from alignkit.objectives.rewards import check_reward_ensemble

    try:
        check_reward_ensemble(objective, coef)
    except ValueError as error:
        raise InputError(str(error)) from error


def require_members(judges: Sequence[Judge]) -> None:
    if not judges:
        raise InputError("an ensemble needs at least one judge")
