"""COPO: Consistency-Aware Policy Optimization (arXiv 2508.04138)."""

from dataclasses import dataclass
from typing import ClassVar

from ...catalog import get
from ...parts.advantages.copo import COPOAdvantagesConfig
from ...parts.policy_losses.copo import COPOLossConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class COPOConfig(OnlineConfig, COPOLossConfig, COPOAdvantagesConfig):
    """Configuration of [`COPOTrainer`]: that of [`OnlineConfig`], and the settings of the two parts `copo`.

    `answer_extractor` has no default: what counts as the same answer is for the data to say.
    """

    preset: ClassVar[dict[str, str]] = {"advantage": "copo", "policy_loss": "copo"}


class COPOTrainer(OnlineTrainer):
    """GRPO blended with a comparison between prompts, by how much answers agree. Arguments: [`OnlineTrainer`]'s."""

    _tag_names = ["alignkit", "trl", "copo"]
    _name = "COPO"
    _paper = get("copo").paper
    method_key = "copo"

    args: COPOConfig
