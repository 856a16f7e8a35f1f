"""COPO's loss (arXiv 2508.04138): the clipped surrogates of a local and a global advantage, blended per completion."""

from dataclasses import dataclass, field

import torch

from ...objectives.policy import copo_loss
from ...objectives.policy.ratios import check_dual_clip
from ..tokens import TokenBatch
from .base import PolicyLoss, PolicyLossConfig


@dataclass
class COPOLossConfig(PolicyLossConfig):
    """Settings of COPO's loss; the clip range is `epsilon` and `epsilon_high`.

    Parameters:
        dual_clip (`float`, *optional*):
            Bound of the loss of a negative advantage, in advantages.
    """

    dual_clip: float | None = field(
        default=None,
        metadata={
            "help": "The loss of a negative advantage is at most this many advantages, each of the two by itself. Valid: "
            "above 1, or none. Not in the paper; the official scripts use 3."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        check_dual_clip(self.dual_clip)


class COPOLoss(PolicyLoss):
    """`copo`: needs the advantage part `copo`, which gives the second advantage and the weight of the first."""

    Config = COPOLossConfig
    needs_extras = ("global_advantages", "local_weight")

    def token_loss(self, batch: TokenBatch) -> torch.Tensor:
        ratio = batch.log_ratio.exp()
        outside = (ratio < 1 - batch.epsilon_low) | (ratio > 1 + batch.epsilon_high)
        batch.metrics["copo/outside_clip_range"] = outside.to(torch.float32)
        return copo_loss(
            batch.logps,
            batch.old_logps,
            batch.advantages,
            batch.extras["global_advantages"],
            batch.extras["local_weight"],
            batch.mask,
            batch.epsilon_low,
            batch.epsilon_high,
            self.config.dual_clip,
        )
