"""BAPO: Balanced Policy Optimization with Adaptive Clipping (arXiv 2510.18927)."""

from dataclasses import dataclass
from typing import ClassVar

from ...catalog import get
from ...parts.policy_losses.bapo import BAPOLossConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class BAPOConfig(OnlineConfig, BAPOLossConfig):
    """Configuration of [`BAPOTrainer`]: that of [`OnlineConfig`], and the settings of the loss part `bapo`.

    The bounds matter only where old and new policy differ: set `num_iterations` above 1, or `steps_per_generation` above
    `gradient_accumulation_steps`.
    """

    preset: ClassVar[dict[str, str]] = {"policy_loss": "bapo"}


class BAPOTrainer(OnlineTrainer):
    """GRPO whose clip bounds are searched for each micro-batch. Arguments are those of [`OnlineTrainer`]."""

    _tag_names = ["alignkit", "trl", "bapo"]
    _name = "BAPO"
    _paper = get("bapo").paper
    method_key = "bapo"

    args: BAPOConfig
