"""HAPO's advantages (arXiv 2509.16591): group statistics in which every token counts once (part B)."""

from ...objectives.advantages import hapo_advantages
from ..rollout import Advantages, RolloutBatch
from .base import AdvantageEstimator


class HAPOAdvantages(AdvantageEstimator):
    """`hapo`: rewards centred on their mean over the tokens of the group, and divided by their spread over them."""

    token_level = True

    def estimate(self, batch: RolloutBatch) -> Advantages:
        return Advantages(hapo_advantages(batch.totals, batch.num_generations, batch.mask))
