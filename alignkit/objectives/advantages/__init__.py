"""Advantage estimators, one file per method."""

from .adora import adora_advantages, adora_weights, check_adora
from .apo_asymmetric import apo_asymmetric_advantages, apo_asymmetric_kl_weights, check_apo_asymmetric
from .bnpo import BetaParameters, bnpo_advantages, bnpo_beta_parameters, bnpo_pass_rates, check_bnpo
from .cgpo import cgpo_advantages
from .copo import CopoAdvantages, check_copo, copo_advantages
from .dcpo import dcpo_advantages, dcpo_coefficient
from .direct_advantage import StepAdvantages, check_direct_advantage_gap, direct_advantage_advantages
from .gdpo import gdpo_advantages
from .grpo import grpo_advantages
from .hapo import hapo_advantages
from .ppo import whiten
from .riskpo import check_riskpo, riskpo_advantages


__all__ = [
    "BetaParameters",
    "CopoAdvantages",
    "StepAdvantages",
    "adora_advantages",
    "adora_weights",
    "apo_asymmetric_advantages",
    "apo_asymmetric_kl_weights",
    "bnpo_advantages",
    "bnpo_beta_parameters",
    "bnpo_pass_rates",
    "cgpo_advantages",
    "check_adora",
    "check_apo_asymmetric",
    "check_bnpo",
    "check_copo",
    "check_direct_advantage_gap",
    "check_riskpo",
    "copo_advantages",
    "dcpo_advantages",
    "dcpo_coefficient",
    "direct_advantage_advantages",
    "gdpo_advantages",
    "grpo_advantages",
    "hapo_advantages",
    "riskpo_advantages",
    "whiten",
]
