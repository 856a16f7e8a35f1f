"""MHPO's loss (arXiv 2603.16929): a bounded log-ratio and a detached hazard penalty in place of clipping."""

from dataclasses import dataclass, field
from typing import Any

import torch

from ...objectives.policy import check_mhpo, mhpo_gradient_multiplier, mhpo_hazard, mhpo_loss
from ..tokens import TokenBatch
from .base import ON_POLICY, PolicyLoss, PolicyLossConfig, is_on_policy


@dataclass
class MHPOLossConfig(PolicyLossConfig):
    """Settings of MHPO's loss; defaults of the paper's section 4.1.

    Parameters:
        c (`float`, *optional*, defaults to `1.5`):
            Bound of the modulated log-ratio.
        k_pos, lambda_pos, k_neg, lambda_neg (`float`, *optional*):
            Shapes and scales of the two Weibull hazards.
    """

    c: float = field(default=1.5, metadata={"help": "Bound of the modulated log-ratio. Valid: finite, above 0."})
    k_pos: float = field(
        default=1.5,
        metadata={"help": "Shape of the hazard of rising tokens. Valid: finite, above 0; 1 or more advised."},
    )
    lambda_pos: float = field(default=1.0, metadata={"help": "Scale of the hazard of rising tokens. Valid: above 0."})
    k_neg: float = field(
        default=2.0,
        metadata={"help": "Shape of the hazard of falling tokens. Valid: finite, above 0; 1 or more advised."},
    )
    lambda_neg: float = field(default=0.8, metadata={"help": "Scale of the hazard of falling tokens. Valid: above 0."})

    def __post_init__(self):
        super().__post_init__()
        check_mhpo(self.c, self.k_pos, self.lambda_pos, self.k_neg, self.lambda_neg)


class MHPOLoss(PolicyLoss):
    """`mhpo`: the token's gradient is the advantage times a multiplier that is bounded and never negative.

    The multiplier is below 1 on-policy (0.265 with the defaults), which an optimizer other than Adam notices.
    """

    Config = MHPOLossConfig
    ignores = {
        **PolicyLoss.ignores,
        "epsilon": "mhpo clips nothing; `c` bounds the log-ratio.",
        "epsilon_high": "mhpo clips nothing; `c` bounds the log-ratio.",
    }

    @classmethod
    def warnings(cls, config: Any, args: Any) -> list[str]:
        if not is_on_policy(args):
            return []
        scale = float(mhpo_gradient_multiplier(0.0, config.c, *_hazards(config)))
        return [ON_POLICY.format(effect=f"mhpo is then GRPO's policy gradient times the constant {scale:.3f}.")]

    def token_loss(self, batch: TokenBatch) -> torch.Tensor:
        config = self.config
        hazards = _hazards(config)
        psi = config.c * torch.tanh(batch.log_ratio / config.c)
        hazard = mhpo_hazard(psi, *hazards)
        multiplier = mhpo_gradient_multiplier(batch.log_ratio, config.c, *hazards)
        batch.metrics["mhpo/psi_mean"] = psi
        batch.metrics["mhpo/hazard_mean"] = hazard
        batch.metrics["mhpo/survival_mean"] = torch.exp(-hazard)
        batch.metrics["mhpo/multiplier_max"] = torch.where(batch.mask, multiplier, 0.0).max()
        return mhpo_loss(batch.logps, batch.old_logps, batch.advantages, batch.mask, config.c, *hazards)


def _hazards(config: MHPOLossConfig) -> tuple[float, float, float, float]:
    return config.k_pos, config.lambda_pos, config.k_neg, config.lambda_neg
