"""SAPO: Soft Adaptive Policy Optimization (arXiv 2511.20347)."""

from dataclasses import dataclass
from typing import ClassVar

from ...catalog import get
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class SAPOConfig(OnlineConfig):
    """Configuration of [`SAPOTrainer`]: that of [`OnlineConfig`].

    The temperatures of the gate are TRL's `sapo_temperature_pos` and `sapo_temperature_neg`. The gate acts only where old
    and new policy differ: set `num_iterations` above 1, or `steps_per_generation` above `gradient_accumulation_steps`.
    """

    preset: ClassVar[dict[str, str]] = {"policy_loss": "sapo"}


class SAPOTrainer(OnlineTrainer):
    """GRPO with a sigmoid gate on each token's ratio in place of clipping. Arguments are those of [`OnlineTrainer`]."""

    _tag_names = ["alignkit", "trl", "sapo"]
    _name = "SAPO"
    _paper = get("sapo").paper
    method_key = "sapo"

    args: SAPOConfig
