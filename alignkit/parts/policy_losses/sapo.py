"""SAPO's loss (arXiv 2511.20347): a sigmoid gate on the ratio in place of clipping; TRL computes it."""

from typing import Any

import torch

from ...errors import InputError
from ...objectives.policy import check_sapo, sapo_gradient_weight
from ...objectives.policy.sapo import LOG_RATIO_LIMIT
from ..tokens import TokenBatch
from .base import ON_POLICY, is_on_policy
from .trl import TRLLoss


class SAPOLoss(TRLLoss):
    """`sapo`: TRL's own, with its temperatures `sapo_temperature_pos` and `sapo_temperature_neg`.

    TRL sees log-ratios within ±20: beyond 88 the ratio is infinite in float32, and the gradient of its gate NaN.
    """

    sets = {"loss_type": "sapo"}
    log_ratio_limit = LOG_RATIO_LIMIT
    ignores = {
        "epsilon": "sapo clips nothing; `sapo_temperature_pos` and `sapo_temperature_neg` shape its gate.",
        "epsilon_high": "sapo clips nothing; `sapo_temperature_pos` and `sapo_temperature_neg` shape its gate.",
        "delta": "sapo clips nothing; its gate fades on both sides.",
        "use_liger_kernel": "its loss is not TRL's own, which the bound on the log-ratio is put before.",
        "importance_sampling_level": "sapo's gate is on the ratio of each token; on a sequence's it is another method.",
    }

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        try:
            check_sapo(args.sapo_temperature_pos, args.sapo_temperature_neg)
        except ValueError as error:
            raise InputError(str(error).replace("`tau_", "`sapo_temperature_")) from None

    @classmethod
    def warnings(cls, config: Any, args: Any) -> list[str]:
        found = []
        if is_on_policy(args):
            found.append(ON_POLICY.format(effect="the gate never acts, and sapo is GRPO's plain policy gradient."))
        if args.sapo_temperature_neg < args.sapo_temperature_pos:
            found.append(
                f"`sapo_temperature_neg` ({args.sapo_temperature_neg:g}) is below `sapo_temperature_pos` "
                f"({args.sapo_temperature_pos:g}); the paper damps negative tokens sooner, not later."
            )
        return found

    def measure(self, batch: TokenBatch, args: Any) -> None:
        temperatures = (args.sapo_temperature_pos, args.sapo_temperature_neg)
        weight = sapo_gradient_weight(batch.log_ratio, batch.advantages, *temperatures)
        batch.metrics["sapo/gradient_weight_mean"] = weight
        batch.metrics["sapo/faded_share"] = (weight < 0.5).to(torch.float32)
