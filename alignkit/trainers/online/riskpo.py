"""RiskPO: Risk-based Policy Optimization via Verifiable Reward (arXiv 2510.00911)."""

from dataclasses import dataclass, field
from typing import ClassVar

from ...catalog import get
from ...parts.advantages.riskpo import RiskPOAdvantagesConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class RiskPOConfig(OnlineConfig, RiskPOAdvantagesConfig):
    """Configuration of [`RiskPOTrainer`]: that of [`OnlineConfig`], and the settings of the advantage part `riskpo`.

    Overrides TRL's defaults with the paper's: one ratio for each completion, averaged over completions. The prompts of a
    generation batch (`generation_batch_size` / `num_generations`) must be a multiple of `bundle_size`.
    """

    preset: ClassVar[dict[str, str]] = {"advantage": "riskpo"}

    importance_sampling_level: str = field(
        default="sequence",
        metadata={"help": "'sequence': one ratio for each completion, as in the paper; or 'token'."},
    )
    loss_type: str = field(
        default="grpo", metadata={"help": "TRL's aggregation of token losses; 'grpo', the mean over completions."}
    )


class RiskPOTrainer(OnlineTrainer):
    """GRPO with the advantages of a mixed value-at-risk. Arguments are those of [`OnlineTrainer`]."""

    _tag_names = ["alignkit", "trl", "riskpo"]
    _name = "RiskPO"
    _paper = get("riskpo").paper
    method_key = "riskpo"

    args: RiskPOConfig
