"""Value targets, value losses and what else a critic needs, one file per method."""

from .direct_advantage import direct_advantage_critic_loss
from .ppo import (
    AdvantagesReturns,
    adaptive_kl_coef,
    check_adaptive_kl,
    check_gae,
    check_value_clip,
    gae,
    scorable_mask,
    value_loss,
)
from .tppo import egae


__all__ = [
    "AdvantagesReturns",
    "adaptive_kl_coef",
    "check_adaptive_kl",
    "check_gae",
    "check_value_clip",
    "direct_advantage_critic_loss",
    "egae",
    "gae",
    "scorable_mask",
    "value_loss",
]
