"""Losses on preference pairs, one file per method."""

from .apo_accelerated import (
    apo_accelerated_extrapolate,
    apo_accelerated_loss,
    apo_accelerated_policy,
    check_apo_accelerated,
)
from .cgpo import cgpo_codpo_loss, check_cgpo_codpo
from .dno import check_dno, dno_loss, dno_prct_loss
from .dpo import dpo_loss, log_ratio_gap
from .inpo import check_inpo, inpo_loss
from .madpo import check_madpo, madpo_coefficient, madpo_loss, madpo_weights
from .modpo import check_modpo, modpo_loss, modpo_margins
from .parl import check_parl, parl_loss, parl_score_weights
from .sppo import check_sppo, sppo_loss, sppo_response_loss


__all__ = [
    "apo_accelerated_extrapolate",
    "apo_accelerated_loss",
    "apo_accelerated_policy",
    "cgpo_codpo_loss",
    "check_apo_accelerated",
    "check_cgpo_codpo",
    "check_dno",
    "check_inpo",
    "check_madpo",
    "check_modpo",
    "check_parl",
    "check_sppo",
    "dno_loss",
    "dno_prct_loss",
    "dpo_loss",
    "inpo_loss",
    "log_ratio_gap",
    "madpo_coefficient",
    "madpo_loss",
    "madpo_weights",
    "modpo_loss",
    "modpo_margins",
    "parl_loss",
    "parl_score_weights",
    "sppo_loss",
    "sppo_response_loss",
]
