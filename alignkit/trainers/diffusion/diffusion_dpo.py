"""Diffusion-DPO (arXiv 2311.12908): DPO on pairs of images, by their prediction errors."""

from dataclasses import dataclass

from ...catalog import get
from ...objectives.diffusion import diffusion_dpo_loss
from .base import DiffusionTrainer
from .config import DiffusionConfig
from .errors import Pair


@dataclass
class DiffusionDPOConfig(DiffusionConfig):
    """Configuration of [`DiffusionDPOTrainer`]: that of [`DiffusionConfig`]."""


class DiffusionDPOTrainer(DiffusionTrainer):
    """Trains a denoiser on `image_chosen` and `image_rejected` of each `prompt`; the reference is the initial model."""

    _tag_names = ["alignkit", "diffusion-dpo"]
    _name = "Diffusion-DPO"
    _paper = get("diffusion_dpo").paper
    method_key = "diffusion_dpo"
    image_columns = ("image_chosen", "image_rejected")

    args: DiffusionDPOConfig

    def pair(self, batch):
        latents, time_ids = batch["latents"], batch["time_ids"]
        first, second = self.image_columns
        return Pair(latents[first], latents[second], time_ids[first], time_ids[second], batch["conditions"])

    def pair_loss(self, errors):
        return diffusion_dpo_loss(
            errors.policy_first, errors.policy_second, errors.ref_first, errors.ref_second, beta=self.args.beta
        )
