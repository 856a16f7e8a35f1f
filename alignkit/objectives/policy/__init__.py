"""Token losses of the policy, one file per method, and what they share: ratios, KL estimates, aggregation."""

from .aggregation import aggregate
from .apo_asymmetric import apo_asymmetric_loss
from .bapo import (
    ClipBounds,
    Contributions,
    bapo_clip_bounds,
    bapo_contributions,
    bapo_grid,
    bapo_loss,
    bapo_positive_share,
    bapo_search,
    check_bapo,
)
from .copo import copo_loss
from .direct_advantage import check_direct_advantage, direct_advantage_loss
from .grpo import grpo_loss
from .hapo import (
    ClipEpsilons,
    EntropySignal,
    check_hapo,
    hapo_clip_epsilons,
    hapo_entropy_signal,
    hapo_loss,
    hapo_redistribute,
)
from .kl import kl_estimate
from .mhpo import check_mhpo, mhpo_gradient_multiplier, mhpo_hazard, mhpo_loss
from .ppo import check_ppo, ppo_loss
from .sapo import check_sapo, sapo_gradient_weight, sapo_loss


__all__ = [
    "ClipBounds",
    "ClipEpsilons",
    "Contributions",
    "EntropySignal",
    "aggregate",
    "apo_asymmetric_loss",
    "bapo_clip_bounds",
    "bapo_contributions",
    "bapo_grid",
    "bapo_loss",
    "bapo_positive_share",
    "bapo_search",
    "check_bapo",
    "check_direct_advantage",
    "check_hapo",
    "check_mhpo",
    "check_ppo",
    "check_sapo",
    "copo_loss",
    "direct_advantage_loss",
    "grpo_loss",
    "hapo_clip_epsilons",
    "hapo_entropy_signal",
    "hapo_loss",
    "hapo_redistribute",
    "kl_estimate",
    "mhpo_gradient_multiplier",
    "mhpo_hazard",
    "mhpo_loss",
    "ppo_loss",
    "sapo_gradient_weight",
    "sapo_loss",
]
