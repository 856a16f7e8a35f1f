"""BNPO: Beta Normalization Policy Optimization (arXiv 2506.02864). Not TRL's `loss_type="bnpo"`."""

from dataclasses import dataclass, field
from typing import ClassVar

from ...catalog import get
from ...parts.advantages.bnpo import BNPOAdvantagesConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class BNPOConfig(OnlineConfig, BNPOAdvantagesConfig):
    """Configuration of [`BNPOTrainer`]: that of [`OnlineConfig`], and the settings of the advantage part `bnpo`.

    Overrides TRL's defaults with the official code's: token losses are summed in each completion (`loss_type` 'luspo',
    with a ratio for each token), `epsilon_high` 0.28 and `delta` 10.
    """

    preset: ClassVar[dict[str, str]] = {"advantage": "bnpo"}

    loss_type: str = field(
        default="luspo",
        metadata={
            "help": "TRL's aggregation of token losses. 'luspo', the sum over the tokens of each completion, is the "
            "official code's. TRL's 'bnpo' is a token mean and not this method."
        },
    )
    epsilon_high: float | None = field(
        default=0.28, metadata={"help": "Upper clip range of the ratio; 0.28 is the official code's."}
    )
    delta: float | None = field(
        default=10.0,
        metadata={"help": "Bound of the ratio where the advantage is negative; 10 is the official code's dual clip."},
    )


class BNPOTrainer(OnlineTrainer):
    """GRPO whose advantages are divided by a fitted Beta density. Arguments are those of [`OnlineTrainer`]."""

    _tag_names = ["alignkit", "trl", "bnpo"]
    _name = "BNPO"
    _paper = get("bnpo").paper
    method_key = "bnpo"

    args: BNPOConfig
