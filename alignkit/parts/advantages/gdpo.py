"""GDPO's advantages (arXiv 2601.05242): each reward normalised in its group, then their sum over the batch."""

import math
from dataclasses import dataclass, field
from typing import Any

from ...objectives.advantages import gdpo_advantages
from ...objectives.arguments import require_range
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from .base import AdvantageEstimator


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
        require_range("std_eps", self.std_eps, 0.0, math.inf, low_open=True, high_open=True)


class GDPOAdvantages(AdvantageEstimator):
    """`gdpo`: TRL's own normalise-then-sum, which is GDPO; ours without whitening or with another `std_eps`."""

    Config = GDPOAdvantagesConfig
    ignores = {"scale_rewards": "gdpo normalises each reward in its group; TRL's scaling would have no effect."}

    @classmethod
    def settings(cls, config: Any) -> dict[str, Any]:
        return {"multi_objective_aggregation": "normalize_then_sum"}

    @classmethod
    def warnings(cls, config: Any, args: Any) -> list[str]:
        found = []
        if args.num_generations == 2:
            found.append(
                "gdpo with `num_generations` 2 keeps only which of the two completions each reward prefers, not by how "
                "much; use 4 or more."
            )
        if args.reward_funcs is not None and len(args.reward_funcs) == 1:
            what = "times a factor of the batch" if config.batch_normalize else "exactly"
            found.append(f"gdpo has one reward function: that is GRPO {what}. It is meant for several.")
        return found

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
