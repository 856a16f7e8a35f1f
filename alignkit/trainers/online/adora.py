"""ADORA: Advantage Dynamics via Online Rollout Adaptation (arXiv 2602.10019)."""

from dataclasses import dataclass
from typing import ClassVar

from ...catalog import get
from ...parts.advantages.adora import ADORAAdvantagesConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class ADORAConfig(OnlineConfig, ADORAAdvantagesConfig):
    """Configuration of [`ADORATrainer`]: that of [`OnlineConfig`], and the settings of the advantage part `adora`."""

    preset: ClassVar[dict[str, str]] = {"advantage": "adora"}


class ADORATrainer(OnlineTrainer):
    """GRPO whose prompts weigh by what their rollouts show now. Arguments are those of [`OnlineTrainer`]."""

    _tag_names = ["alignkit", "trl", "adora"]
    _name = "ADORA"
    _paper = get("adora").paper
    method_key = "adora"

    args: ADORAConfig
