"""GDPO's advantages (arXiv 2601.05242): each reward normalised in its group, then their sum over the batch."""

from dataclasses import dataclass, field
from typing import Any

from ...objectives.advantages import gdpo_advantages
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from .base import AdvantageEstimator


@dataclass
class GDPOAdvantagesConfig(PartConfig):
    """Settings of GDPO's advantages.

    Parameters:
        batch_normalize (`bool`, *optional*, defaults to `True`):
            Whether the weighted sum is whitened over the batch (Eq. 6).
    """

    batch_normalize: bool = field(
        default=True,
        metadata={"help": "Whether the weighted sum of the normalised rewards is whitened over the batch (Eq. 6)."},
    )


class GDPOAdvantages(AdvantageEstimator):
    """`gdpo`: TRL's own normalise-then-sum, which is GDPO; without whitening, ours. eps is 1e-4 in both."""

    Config = GDPOAdvantagesConfig
    ignores = {"scale_rewards": "gdpo normalises each reward in its group; TRL's scaling would have no effect."}

    @classmethod
    def settings(cls, config: Any) -> dict[str, Any]:
        return {"multi_objective_aggregation": "normalize_then_sum"}

    @property
    def own(self) -> bool:  # type: ignore[override]
        return not self.config.batch_normalize

    def estimate(self, batch: RolloutBatch) -> Advantages:
        return Advantages(
            gdpo_advantages(batch.rewards, batch.num_generations, batch.reward_weights, batch_normalize=False)
        )
