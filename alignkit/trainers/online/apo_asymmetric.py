"""Asymmetric Policy Optimization, of View-R1 (arXiv 2506.21655)."""

from dataclasses import dataclass, field
from typing import ClassVar

from ...catalog import get
from ...parts.advantages.apo_asymmetric import APOAsymmetricAdvantagesConfig
from ...parts.policy_losses.base import PolicyLossConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class APOAsymmetricConfig(OnlineConfig, PolicyLossConfig, APOAsymmetricAdvantagesConfig):
    """Configuration of [`APOAsymmetricTrainer`]: that of [`OnlineConfig`], and the settings of the two parts.

    Parameters:
        beta (`float`, *optional*, defaults to `0.001`):
            KL coefficient, before the weights of DADS.
    """

    beta: float = field(
        default=0.001,
        metadata={"help": "KL coefficient, before the weights of `use_dads`; 0 makes them void. Valid: at least 0."},
    )

    preset: ClassVar[dict[str, str]] = {"advantage": "apo_asymmetric", "policy_loss": "apo_asymmetric"}


class APOAsymmetricTrainer(OnlineTrainer):
    """GRPO with a KL weight and a length factor for each completion. Arguments are those of [`OnlineTrainer`]."""

    _tag_names = ["alignkit", "trl", "apo_asymmetric"]
    _name = "Asymmetric Policy Optimization"
    _paper = get("apo_asymmetric").paper
    method_key = "apo_asymmetric"

    args: APOAsymmetricConfig
