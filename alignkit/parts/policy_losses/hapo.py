"""HAPO's loss (arXiv 2509.16591): advantage and clip range of each token from its entropy (parts C and D)."""

from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import InputError
from ...objectives.arguments import require_choice
from ...objectives.policy import check_hapo, hapo_entropy_signal, hapo_loss
from ...objectives.policy.aggregation import AGGREGATIONS
from ..tokens import TokenBatch
from .base import PolicyLoss, PolicyLossConfig


@dataclass
class HAPOLossConfig(PolicyLossConfig):
    """Settings of HAPO's loss; the base of the clip range is the trainer's `epsilon` and `epsilon_high`.

    Parameters:
        aggregation (`str`, *optional*, defaults to `"dapo"`):
            From token losses to one number, by TRL's names.
        quantile (`float`, *optional*, defaults to `0.8`):
            Quantile of the entropies above which a token is uncertain.
        adv_beta (`float`, *optional*, defaults to `1.0`):
            Strength with which the entropy redistributes the advantages (C).
        clip_alpha (`float`, *optional*, defaults to `1.0`):
            Strength with which the entropy widens the clip range (D).
    """

    aggregation: str = field(
        default="dapo",
        metadata={
            "help": "From token losses to one number: 'dapo' (token mean of the accumulation window), 'bnpo' (token mean "
            "of the micro-batch), 'grpo', 'dr_grpo' or 'luspo'."
        },
    )
    quantile: float = field(
        default=0.8, metadata={"help": "Quantile of the entropies above which a token is uncertain. Valid: [0, 1]."}
    )
    adv_beta: float = field(
        default=1.0,
        metadata={"help": "Strength of the advantage redistribution; 0 turns it off. Valid: [0, 1]."},
    )
    clip_alpha: float = field(
        default=1.0,
        metadata={
            "help": "Strength of the entropy on the clip range; 0 turns it off. Valid: at least 0, with "
            "epsilon·(1 + clip_alpha) below 1."
        },
    )

    def __post_init__(self):
        require_choice("aggregation", self.aggregation, AGGREGATIONS)
        check_hapo(quantile=self.quantile, adv_beta=self.adv_beta)


class HAPOLoss(PolicyLoss):
    """`hapo`: the clipped surrogate, per token by its entropy against those of the micro-batch of all processes.

    State: center and scale of the log-entropies over the updates of the last generation batch (None before the first),
    which the sampling temperatures of the next one are computed from, and the sums of the updates since.
    """

    Config = HAPOLossConfig
    row_by_row = False

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        high = args.epsilon if args.epsilon_high is None else args.epsilon_high
        try:
            check_hapo(config.quantile, args.epsilon, high, config.adv_beta, config.clip_alpha)
        except ValueError as error:
            raise InputError(f"policy_loss `hapo`: {error} `epsilon_low` is the field `epsilon`.") from None

    def __init__(self, config: Any, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.center: float | None = None
        self.scale: float | None = None
        self.center_sum, self.scale_sum, self.tokens = 0.0, 0.0, 0

    def token_loss(self, batch: TokenBatch) -> torch.Tensor:
        config = self.config
        population = batch.gather(batch.entropies[batch.mask])
        signal, center, scale = hapo_entropy_signal(
            batch.entropies, batch.mask, config.quantile, population=population
        )
        if batch.training:
            self.center_sum += center * len(population)
            self.scale_sum += scale * len(population)
            self.tokens += len(population)
        batch.metrics["hapo/log_entropy_center"] = batch.logps.new_tensor(center)
        batch.metrics["hapo/log_entropy_scale"] = batch.logps.new_tensor(scale)
        batch.metrics["hapo/uncertain_share"] = (signal > 0).float()
        batch.metrics["hapo/signal_mean"] = signal
        return hapo_loss(
            batch.logps,
            batch.old_logps,
            batch.advantages,
            batch.mask,
            batch.entropies,
            config.quantile,
            batch.epsilon_low,
            batch.epsilon_high,
            config.adv_beta,
            config.clip_alpha,
            population,
        )

    def close_generation_batch(self) -> tuple[float, float] | None:
        """Center and scale of log H over the updates since the last call: means over micro-batches, by tokens.

        Those of the call before where there was no update since; None before the first update.
        """
        if self.tokens:
            self.center, self.scale = self.center_sum / self.tokens, self.scale_sum / self.tokens
            self.center_sum, self.scale_sum, self.tokens = 0.0, 0.0, 0
        return None if self.center is None or self.scale is None else (self.center, self.scale)

    def state_dict(self) -> dict[str, Any]:
        return {
            "center": self.center,
            "scale": self.scale,
            "center_sum": self.center_sum,
            "scale_sum": self.scale_sum,
            "tokens": self.tokens,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.center, self.scale = state["center"], state["scale"]
        self.center_sum, self.scale_sum, self.tokens = state["center_sum"], state["scale_sum"], state["tokens"]
