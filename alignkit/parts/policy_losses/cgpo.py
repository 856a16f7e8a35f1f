"""CGPO's loss (arXiv 2409.20370): the weight that its optimizer gave each completion times its log-probability."""

from typing import Any

import torch

from ...errors import InputError
from ..part import PartConfig
from ..tokens import TokenBatch
from .base import PolicyLoss


class CGPOLoss(PolicyLoss):
    """`cgpo`: -A log pi summed over all tokens, with no ratio and no clip: every batch is used for one update.

    A KL penalty is not added: `kl_max` and the judges bound the policy. Needs advantage `cgpo`.
    """

    Config = PartConfig
    needs_extras = ("from_baseline",)
    ignores = {
        **PolicyLoss.ignores,
        "epsilon": "cgpo has no ratio to clip.",
        "epsilon_high": "cgpo has no ratio to clip.",
    }

    @classmethod
    def settings(cls, config: Any) -> dict[str, Any]:
        return {"loss_type": "dapo", "beta": 0.0, "num_iterations": 1}

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        if args.steps_per_generation != args.gradient_accumulation_steps:
            raise InputError(
                f"`steps_per_generation` is {args.steps_per_generation} and `gradient_accumulation_steps` "
                f"{args.gradient_accumulation_steps}: policy_loss `cgpo` makes one update with each generation batch; leave "
                "`steps_per_generation` out."
            )

    def token_loss(self, batch: TokenBatch) -> torch.Tensor:
        return torch.where(batch.mask, -batch.advantages[:, None] * batch.logps, 0.0)
