"""TRL's own losses as parts: each sets the fields of `trl.GRPOConfig` that select it, and TRL computes it."""

from typing import Any, ClassVar

from ..part import PartConfig
from .base import PolicyLoss


class TRLLoss(PolicyLoss):
    """Base of TRL's losses: clip bounds, two-sided clipping and the rest are the fields of `trl.GRPOConfig`."""

    Config = PartConfig
    own = False
    ignores: ClassVar[dict[str, str]] = {}

    @classmethod
    def settings(cls, config: Any) -> dict[str, Any]:
        return cls.sets


class DAPOLoss(TRLLoss):
    """The clipped surrogate, averaged over the tokens of the accumulation window (TRL's default)."""

    sets = {"loss_type": "dapo"}


class GRPOLoss(TRLLoss):
    """The clipped surrogate, averaged over the tokens of each completion, then over completions."""

    sets = {"loss_type": "grpo"}


class DrGRPOLoss(TRLLoss):
    """The clipped surrogate, summed over tokens and divided by completions times `max_completion_length`."""

    sets = {"loss_type": "dr_grpo"}


class TokenMeanLoss(TRLLoss):
    """TRL's `bnpo`: the clipped surrogate, averaged over the tokens of the micro-batch. Not Beta Normalization."""

    sets = {"loss_type": "bnpo"}


class LUSPOLoss(TRLLoss):
    """The clipped surrogate, summed over the tokens of each completion."""

    sets = {"loss_type": "luspo"}


class CISPOLoss(TRLLoss):
    """REINFORCE with clipped, detached importance weights; `epsilon_high` is the bound of the ratio itself."""

    sets = {"loss_type": "cispo"}


class GSPOLoss(TRLLoss):
    """The clipped surrogate with one ratio for each completion."""

    sets = {"loss_type": "grpo", "importance_sampling_level": "sequence"}


class VESPOLoss(TRLLoss):
    """TRL's variational sequence-level soft weight."""

    sets = {"loss_type": "vespo"}
