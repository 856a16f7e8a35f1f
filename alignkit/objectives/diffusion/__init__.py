"""Losses of diffusion models from per-sample prediction errors, one file per method, and the noising they rest on."""

from .diffusion_dpo import check_diffusion_dpo, diffusion_dpo_loss
from .errors import prediction_errors
from .noising import PREDICTION_TYPES, noised_sample, prediction_target
from .seppo import FLIPPERS, check_seppo, seppo_flip, seppo_loss


__all__ = [
    "FLIPPERS",
    "PREDICTION_TYPES",
    "check_diffusion_dpo",
    "check_seppo",
    "diffusion_dpo_loss",
    "noised_sample",
    "prediction_errors",
    "prediction_target",
    "seppo_flip",
    "seppo_loss",
]
