"""GDPO's advantages (arXiv 2601.05242): each reward normalised in its group, then their sum over the batch."""

import logging
from dataclasses import dataclass, field
from typing import Any

from ...objectives.advantages import gdpo_advantages
from ...objectives.arguments import require_range
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from .base import AdvantageEstimator


logger = logging.getLogger(__name__)

# What TRL adds to every standard deviation.
TRL_EPS = 1e-4


@dataclass
class GDPOAdvantagesConfig(PartConfig):
    """Settings of GDPO's advantages; `reward_weights`, a field of TRL's, weighs the normalised rewards.

    Parameters:
        batch_normalize (`bool`, *optional*, defaults to `True`):
            Whether the weighted sum is whitened over the batch (Eq. 6).
        std_eps (`float`, *optional*, defaults to `1e-4`):
            Added to every standard deviation.
    """

    batch_normalize: bool = field(
        default=True,
        metadata={"help": "Whether the weighted sum of the normalised rewards is whitened over the batch (Eq. 6)."},
    )
    std_eps: float = field(
        default=TRL_EPS,
        metadata={
            "help": "Added to every standard deviation. Valid: above 0. The paper gives no value; 1e-4 is that of TRL "
            "and of the authors' TRL code."
        },
    )

    def __post_init__(self):
        require_range("std_eps", self.std_eps, 0.0, 1.0, low_open=True)


class GDPOAdvantages(AdvantageEstimator):
    """`gdpo`: TRL's own normalise-then-sum, which is GDPO; ours without whitening or with another `std_eps`."""

    Config = GDPOAdvantagesConfig
    ignores = {"scale_rewards": "gdpo normalises each reward in its group; TRL's scaling would have no effect."}

    @classmethod
    def settings(cls, config: Any) -> dict[str, Any]:
        return {"multi_objective_aggregation": "normalize_then_sum"}

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        if args.num_generations == 2:
            logger.warning(
                "gdpo with `num_generations` 2 keeps only which of the two completions each reward prefers, not by how "
                "much; use 4 or more."
            )

    def check_rewards(self, names: list[str]) -> None:
        if len(names) == 1:
            what = "times a factor of the batch" if self.config.batch_normalize else "exactly"
            logger.warning(
                "gdpo has one reward function (%s): that is GRPO, %s. It is meant for several.", names[0], what
            )

    @property
    def own(self) -> bool:  # type: ignore[override]
        return not self.config.batch_normalize or self.config.std_eps != TRL_EPS

    def estimate(self, batch: RolloutBatch) -> Advantages:
        config = self.config
        return Advantages(
            gdpo_advantages(
                batch.rewards, batch.num_generations, batch.reward_weights, config.batch_normalize, config.std_eps
            )
        )
