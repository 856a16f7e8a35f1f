"""Reward shaping: the rewards of a generation batch, changed before any advantage is computed from them."""

from typing import ClassVar

import torch

from ..part import Part
from ..rollout import RolloutBatch


class RewardShaping(Part):
    """Base of the shapings. The raw rewards are logged under `reward_shaping/raw/`."""

    own: ClassVar[bool] = True

    def shape(self, batch: RolloutBatch) -> torch.Tensor:
        """[N, K] rewards in place of `batch.rewards`, which is not modified."""
        raise NotImplementedError


class NoShaping(RewardShaping):
    """`none`: the rewards as the reward functions gave them."""

    own = False

    def shape(self, batch: RolloutBatch) -> torch.Tensor:
        return batch.rewards
