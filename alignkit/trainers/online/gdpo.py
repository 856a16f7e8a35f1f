"""GDPO: Group reward-Decoupled Normalization Policy Optimization (arXiv 2601.05242)."""

from dataclasses import dataclass
from typing import ClassVar

from ...catalog import get
from ...parts.advantages.gdpo import GDPOAdvantagesConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class GDPOConfig(OnlineConfig, GDPOAdvantagesConfig):
    """Configuration of [`GDPOTrainer`]: that of [`OnlineConfig`], and the settings of the advantage part `gdpo`.

    `reward_weights` weigh the normalised rewards, not the rewards. An easy reward that should count only where a hard one
    is reached is `reward_shaping: {name: conditioned, target: ..., condition: ...}`.
    """

    preset: ClassVar[dict[str, str]] = {"advantage": "gdpo"}


class GDPOTrainer(OnlineTrainer):
    """GRPO whose rewards are normalised one by one before they are added up. Arguments are those of [`OnlineTrainer`]."""

    _tag_names = ["alignkit", "trl", "gdpo"]
    _name = "GDPO"
    _paper = get("gdpo").paper
    method_key = "gdpo"

    args: GDPOConfig
