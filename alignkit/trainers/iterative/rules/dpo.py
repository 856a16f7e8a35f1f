"""Iterative DPO, the baseline: best against worst of the policy's own responses."""

from dataclasses import dataclass

from ....objectives.rewards import sppo_win_rates
from ....objectives.sampling import best_worst_pair
from ...preference.dpo import DPOConfig
from ..config import LoopFields
from ..rule import Candidate, IterationRule, Judged, masked, pairs_of


@dataclass
class DPOLoopConfig(LoopFields, DPOConfig):
    """Configuration of `alignkit loop dpo`."""


class Rule(IterationRule):
    """Best and worst by score, or by win rate among the K where the judge only compares."""

    def candidates(self, judged: Judged) -> list[Candidate]:
        values = judged.scores if judged.scores is not None else sppo_win_rates(judged.require_preferences())
        return pairs_of(best_worst_pair(masked(values, judged.usable)))
