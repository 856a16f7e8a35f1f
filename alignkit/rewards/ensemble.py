"""An ensemble of reward models as a reward function: their mean, their worst case, or the mean minus their variance."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alignkit.errors import InputError
from alignkit.generation import LoadOptions
from alignkit.judges.conversations import as_text
from alignkit.judges.reward_ensemble import RewardEnsembleJudge

from .judged import JudgeReward


class EnsembleReward(JudgeReward):
    r"""A TRL reward function over K reward models R_k (arXiv 2310.02743); one forward pass per member.

    "mean": \( \bar R = \frac1K \sum_k R_k \); "wco": \( \min_k R_k \); "uwo": \( \bar R - \text{coef} \cdot \text{Var}_k R_k \).
    A member that fails on a completion is left out of it; None where all fail. Logs `ensemble/member_std` (mean over the
    completions of the members' standard deviation, population) and `ensemble/penalty` (mean of \( \bar R \) minus the
    reward).

    Args:
        model: folder that `alignkit train reward --ensemble` made, or a list of reward models (adapters on one base share
            it).
        mode: see above.
        coef: weight of the variance for "uwo", at least 0. Its effect grows with the square of the members' scale.
        unbiased: divide squared deviations by K - 1, as the paper's PPO code does, instead of K.
        normalize: bring each member to mean 0 and deviation 1 on its training responses; for an ensemble's folder.
        max_length, plain_format: as in the judge `reward_model`.
        dtype, device, load_in_4bit, batch_size: how the members are loaded and in which batches they read.

    Raises `InputError` for an ensemble that is not finished, and for values out of range.
    """

    def __init__(
        self,
        model: str | Sequence[str],
        mode: str = "mean",
        coef: float = 0.1,
        unbiased: bool = False,
        normalize: bool = False,
        max_length: int | None = None,
        plain_format: str | None = None,
        dtype: str = "auto",
        device: str = "auto",
        load_in_4bit: bool = False,
        batch_size: int = 32,
    ) -> None:
        from alignkit.data.bundled import resolve_model

        if not model:
            raise InputError("`model` is empty: name the folder of an ensemble, or a list of reward models")
        options = LoadOptions(dtype=dtype, device=device, load_in_4bit=load_in_4bit, batch_size=batch_size)
        sources = resolve_model(model) if isinstance(model, str) else [resolve_model(name) for name in model]
        self.ensemble = RewardEnsembleJudge(
            sources, mode, coef, unbiased, normalize, options, max_length, plain_format
        )
        super().__init__(self.ensemble)
        self.__name__ = "ensemble"

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], log_metric: Any = None, **columns: Any
    ) -> list[float | None]:
        members = self.ensemble.member_scores(list(prompts), [as_text(completion) for completion in completions])
        values = self.ensemble.combined(members)
        scored = ~np.isnan(values)
        if log_metric is not None and scored.any():
            known = members[scored]
            log_metric("ensemble/member_std", float(np.nanstd(known, axis=1).mean()))
            log_metric("ensemble/penalty", float((np.nanmean(known, axis=1) - values[scored]).mean()))
        return [None if value != value else value for value in values.tolist()]
