"""GRPO: Group Relative Policy Optimization (arXiv 2402.03300), under its own name."""

from dataclasses import dataclass

from ...catalog import get
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class GRPOConfig(OnlineConfig):
    """Configuration of [`GRPOTrainer`]: all of [`trl.GRPOConfig`], and the slots, whose every part is open to it."""


class GRPOTrainer(OnlineTrainer):
    """`trl.GRPOTrainer`, bit for bit while the slots are empty and `shared_prefix` is off; arguments as [`OnlineTrainer`]."""

    _name = "GRPO"
    _paper = get("grpo").paper
    method_key = "grpo"

    args: GRPOConfig
