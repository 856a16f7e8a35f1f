"""What a method says of itself to the loop."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .state import LoopState


@dataclass(frozen=True)
class Judged:
    """The K responses to each of N prompts as a rule sees them.

    Attributes:
        preferences: [N, K, K], probability that response i beats j, NaN where the judgement failed; None if the judge
            was asked for scores only.
        scores: [N, K], NaN where scoring failed; None for a judge that only compares.
        usable: [N, K] bool, False for an empty response or one cut at the length limit.
        is_teacher: [N, K] bool, True for a response that the data set gives.
    """

    preferences: torch.Tensor | None
    scores: torch.Tensor | None
    usable: torch.Tensor
    is_teacher: torch.Tensor

    def require_preferences(self) -> torch.Tensor:
        assert self.preferences is not None, "the rule asked the judge for scores only"
        return self.preferences


@dataclass(frozen=True)
class Candidate:
    """A pair: prompt n, chosen response i, rejected response j, and the method's own columns."""

    prompt: int
    chosen: int
    rejected: int
    columns: dict[str, float] = field(default_factory=dict)


class IterationRule(ABC):
    """The small places in which the methods differ. No files, no models: the runner owns those.

    Attributes:
        config: the loop configuration of the method.
        judge_output: what the judge is asked for: "scores" (one number per response; preferences if it has no scores),
            "matrix" (all preferences) or "tournament" (the comparisons of a knock-out).
        gold_column: column of the teacher's response, if the method uses one.
        momentum: how far the next policy is extrapolated past the trained one; 0 leaves it as trained.
        column_names: the columns that `candidates` fills.
        one_pair_per_prompt: whether a prompt gives at most one pair, and no old pair comes again.
    """

    judge_output = "scores"
    gold_column: str | None = None
    momentum = 0.0
    column_names: tuple[str, ...] = ()
    one_pair_per_prompt = True

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def candidates(self, judged: Judged) -> list[Candidate]:
        """The pairs that the method draws from the judgements, in a fixed order."""

    def needs_scores(self) -> bool:
        """Whether a judge that only compares is of no use."""
        return False

    def replay_counts(self, history_sizes: list[int]) -> list[int]:
        """How many pairs of each past iteration (newest first) are trained on again."""
        return [0] * len(history_sizes)

    def reference_paths(self, state: LoopState) -> dict[str, str]:
        """The frozen models of the loss, {column prefix: path}."""
        return {"ref": state.policy}

    def evaluated(self, policy: str, trained: str) -> str:
        """Which of the next policy and the trained model the evaluation measures."""
        return policy

    def final(self, state: LoopState) -> str:
        """Path of the model that the loop returns."""
        return state.policy


def pairs_of(indices, columns: dict[str, torch.Tensor] | None = None) -> list[Candidate]:
    """Candidates of an objective's (chosen [N], rejected [N], valid [N]).

    `columns` holds values per response [N, K]: `name` becomes `chosen_{name}` and `rejected_{name}`.
    """
    found = []
    for n in torch.nonzero(indices.valid).flatten().tolist():
        chosen, rejected = int(indices.chosen[n]), int(indices.rejected[n])
        values = {}
        for name, rates in (columns or {}).items():
            values[f"chosen_{name}"] = float(rates[n, chosen])
            values[f"rejected_{name}"] = float(rates[n, rejected])
        found.append(Candidate(n, chosen, rejected, values))
    return found


def masked(values: torch.Tensor, usable: torch.Tensor) -> torch.Tensor:
    """Values [N, K] with NaN (not scored) where a response cannot be in a pair."""
    return values.masked_fill(~usable, np.nan)
