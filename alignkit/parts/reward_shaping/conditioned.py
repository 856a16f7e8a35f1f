"""Conditioned rewards (GDPO, arXiv 2601.05242): an easy reward counts only where a hard one is reached."""

import math
from dataclasses import dataclass, field

import torch

from ...errors import InputError
from ...objectives.arguments import require_range
from ...objectives.rewards import gdpo_condition_rewards
from ..part import PartConfig
from ..rollout import RolloutBatch
from .base import RewardShaping


@dataclass
class ConditionedRewardsConfig(PartConfig):
    """Settings of the conditioning.

    Parameters:
        target, condition (`str`):
            Names of the easy and of the hard reward function.
        threshold (`float`, *optional*, defaults to `1.0`):
            Lowest hard reward at which the easy one counts.
    """

    target: str = field(
        default="", metadata={"help": "Name of the reward function that is conditioned (the easy one)."}
    )
    condition: str = field(
        default="", metadata={"help": "Name of the reward function that must be reached (the hard one)."}
    )
    threshold: float = field(
        default=1.0, metadata={"help": "Lowest hard reward at which the easy one counts. Finite."}
    )

    def __post_init__(self):
        for name in ("target", "condition"):
            if not getattr(self, name):
                raise InputError(f"`{name}` is missing: give the name of a reward function.")
        if self.target == self.condition:
            raise InputError(f"`condition` is {self.condition!r}, the `target` itself; name another reward function.")
        require_range("threshold", self.threshold, -math.inf, math.inf, low_open=True, high_open=True)


class ConditionedRewards(RewardShaping):
    """`conditioned`: 0 in place of the easy reward wherever the hard one stays below the threshold."""

    Config = ConditionedRewardsConfig

    def check_rewards(self, names: list[str]) -> None:
        for key in ("target", "condition"):
            name = getattr(self.config, key)
            if names.count(name) != 1:
                raise InputError(
                    f"`reward_shaping`: `{key}` is {name!r}; it must name one of the reward functions, which are "
                    f"{', '.join(names)}."
                )

    def shape(self, batch: RolloutBatch) -> torch.Tensor:
        target, condition = (batch.reward_names.index(name) for name in (self.config.target, self.config.condition))
        return gdpo_condition_rewards(batch.rewards, target, condition, self.config.threshold)
