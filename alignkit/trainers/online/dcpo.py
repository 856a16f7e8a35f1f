"""DCPO: Distribution-Centric Policy Optimization (arXiv 2601.12730)."""

from dataclasses import dataclass, field
from typing import ClassVar

from ...catalog import get
from ...parts.advantages.dcpo import DCPOAdvantagesConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class DCPOConfig(OnlineConfig, DCPOAdvantagesConfig):
    """Configuration of [`DCPOTrainer`]: that of [`OnlineConfig`], and the settings of the advantage part `dcpo`.

    TRL computes the loss: the clipped surrogate (`epsilon` 0.2) as a token mean, with the dual clip of the released code.
    """

    delta: float | None = field(
        default=3.0,
        metadata={
            "help": "Dual clip: the loss of a negative token is at most this times |A|. Valid: above 1, or none."
        },
    )

    preset: ClassVar[dict[str, str]] = {"advantage": "dcpo"}


class DCPOTrainer(OnlineTrainer):
    """GRPO that holds the policy's entropy at a chosen level. Arguments are those of [`OnlineTrainer`]."""

    _tag_names = ["alignkit", "trl", "dcpo"]
    _name = "DCPO"
    _paper = get("dcpo").paper
    method_key = "dcpo"

    args: DCPOConfig
