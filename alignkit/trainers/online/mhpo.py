"""MHPO: Modulated Hazard-aware Policy Optimization (arXiv 2603.16929)."""

from dataclasses import dataclass
from typing import ClassVar

from ...catalog import get
from ...parts.policy_losses.mhpo import MHPOLossConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class MHPOConfig(OnlineConfig, MHPOLossConfig):
    """Configuration of [`MHPOTrainer`]: that of [`OnlineConfig`], and the settings of the loss part `mhpo`.

    The loss differs from GRPO's only where old and new policy differ: set `num_iterations` above 1, or
    `steps_per_generation` above `gradient_accumulation_steps`.
    """

    preset: ClassVar[dict[str, str]] = {"policy_loss": "mhpo"}


class MHPOTrainer(OnlineTrainer):
    """GRPO with the loss `exp(ψ - ζ) A` in place of the clipped surrogate. Arguments are those of [`OnlineTrainer`]."""

    _tag_names = ["alignkit", "trl", "mhpo"]
    _name = "MHPO"
    _paper = get("mhpo").paper
    method_key = "mhpo"

    args: MHPOConfig
