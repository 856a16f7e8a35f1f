"""BAPO's loss (arXiv 2510.18927): clip bounds searched at every update, so that positive tokens hold their share of it."""

from dataclasses import dataclass, field
from typing import Any

import torch

from ...objectives.arguments import require_choice
from ...objectives.policy import (
    Contributions,
    bapo_contributions,
    bapo_grid,
    bapo_loss,
    bapo_search,
    check_bapo,
)
from ...objectives.policy.aggregation import AGGREGATIONS
from ...objectives.policy.ratios import check_dual_clip
from ..tokens import TokenBatch
from .base import ON_POLICY, PolicyLoss, PolicyLossConfig, is_on_policy


@dataclass
class BAPOLossConfig(PolicyLossConfig):
    """Settings of BAPO's loss; defaults of the paper's section 5.1. Bounds are of the ratio itself (0.6, not 0.4).

    Parameters:
        aggregation (`str`, *optional*, defaults to `"dapo"`):
            From token losses to one number, by TRL's names.
        target (`float`, *optional*, defaults to `0.4`):
            Share of the loss that positive tokens shall hold.
        low_start, low_max, low_step (`float`, *optional*):
            Range of the lower bound and its step.
        high_start, high_max, high_step (`float`, *optional*):
            Range of the upper bound and its step.
        order (`str`, *optional*, defaults to `"high_first"`):
            Which bound moves while it can.
        contribution (`str`, *optional*, defaults to `"surrogate"`):
            What a token counts for in the share.
        dual_clip (`float`, *optional*):
            Cap of a negative token's loss.
    """

    aggregation: str = field(
        default="dapo",
        metadata={
            "help": "From token losses to one number: 'dapo' (token mean of the accumulation window), 'bnpo' (token mean "
            "of the micro-batch), 'grpo', 'dr_grpo' or 'luspo'."
        },
    )
    target: float = field(
        default=0.4, metadata={"help": "Share of the loss that positive tokens shall hold. Valid: [0, 1)."}
    )
    low_start: float = field(
        default=0.6, metadata={"help": "Lower bound of the ratio that the search starts from. Valid: [0, low_max]."}
    )
    low_max: float = field(default=0.9, metadata={"help": "Highest lower bound. Valid: [low_start, 1]."})
    low_step: float = field(default=0.02, metadata={"help": "Step of the lower bound. Valid: above 0."})
    high_start: float = field(
        default=1.2, metadata={"help": "Upper bound of the ratio that the search starts from. Valid: [1, high_max]."}
    )
    high_max: float = field(default=3.0, metadata={"help": "Highest upper bound. Valid: finite, at least high_start."})
    high_step: float = field(default=0.05, metadata={"help": "Step of the upper bound. Valid: above 0."})
    order: str = field(
        default="high_first",
        metadata={"help": "Which bound moves while it can: 'high_first' (paper) or 'low_first' (released code)."},
    )
    contribution: str = field(
        default="surrogate",
        metadata={
            "help": "What a token counts for: 'surrogate' (its clipped loss, Eq. 8) or 'active' (its loss where it is not "
            "clipped; only then does raising the lower bound raise the share)."
        },
    )
    dual_clip: float | None = field(
        default=None,
        metadata={"help": "The loss of a negative token is at most this times |A|. Valid: above 1, or none."},
    )

    def __post_init__(self):
        require_choice("aggregation", self.aggregation, AGGREGATIONS)
        check_bapo(
            self.target,
            self.low_start,
            self.low_max,
            self.low_step,
            self.high_start,
            self.high_max,
            self.high_step,
            self.order,
            self.contribution,
        )
        check_dual_clip(self.dual_clip)


class BAPOLoss(PolicyLoss):
    """`bapo`: the clipped surrogate between bounds that are constants of one micro-batch of all processes."""

    Config = BAPOLossConfig
    row_by_row = False
    ignores = {
        **PolicyLoss.ignores,
        "epsilon": "bapo searches its bounds between `low_start` and `low_max`, `high_start` and `high_max`.",
        "epsilon_high": "bapo searches its upper bound between `high_start` and `high_max`.",
    }

    @classmethod
    def warnings(cls, config: Any, args: Any) -> list[str]:
        return [ON_POLICY.format(effect="every ratio is 1, and the bounds do nothing.")] if is_on_policy(args) else []

    def token_loss(self, batch: TokenBatch) -> torch.Tensor:
        config = self.config
        lows = bapo_grid(config.low_start, config.low_max, config.low_step)
        highs = bapo_grid(config.high_start, config.high_max, config.high_step)
        inputs = (batch.logps, batch.old_logps, batch.advantages, batch.mask)
        sums = bapo_contributions(*inputs, lows, highs, config.contribution)
        positive, negative = batch.reduce_sum(torch.cat(sums)).split([len(highs), len(lows)])
        bounds = bapo_search(Contributions(positive, negative), lows, highs, config.target, config.order)
        advantages = batch.advantages if batch.advantages.dim() == 2 else batch.advantages[:, None]
        ratio = batch.log_ratio.exp()
        batch.metrics["bapo/low"] = batch.logps.new_tensor(bounds.low)
        batch.metrics["bapo/high"] = batch.logps.new_tensor(bounds.high)
        batch.metrics["bapo/positive_share"] = batch.logps.new_tensor(bounds.positive_share)
        batch.metrics["bapo/clipped_low"] = ((ratio < bounds.low) & (advantages < 0)).float()
        batch.metrics["bapo/clipped_high"] = ((ratio > bounds.high) & (advantages > 0)).float()
        return bapo_loss(*inputs, bounds.low, bounds.high, config.dual_clip)
