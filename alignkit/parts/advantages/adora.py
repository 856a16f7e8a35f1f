"""ADORA's advantages (arXiv 2602.10019): those of GRPO, weighted per prompt by the lengths of successes and failures."""

from dataclasses import dataclass, field

from ...objectives.advantages import adora_advantages, adora_weights, check_adora
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from .base import AdvantageEstimator


@dataclass
class ADORAAdvantagesConfig(PartConfig):
    """Settings of ADORA's weights.

    Parameters:
        mode (`str`, *optional*, defaults to `"attenuate"`):
            Damp the prompts without a length advantage, or amplify hard ones that have it.
        prompt_weight (`float`, *optional*):
            Weight of the prompts so chosen.
        tau (`float`, *optional*, defaults to `0.5`):
            Success rate up to which a prompt is hard.
        success_threshold (`float`, *optional*, defaults to `0.5`):
            A reward above it is a success.
        max_failure_length (`int`, *optional*):
            Failures of at least so many tokens are left out of the mean failure length.
    """

    mode: str = field(
        default="attenuate",
        metadata={
            "help": "'attenuate' (the paper's vision-language setting, and both of its repositories): prompts whose "
            "longest success is not longer than their mean failure weigh less. 'amplify' (its language setting): "
            "prompts where it is longer, and that succeed in at most `tau` of their completions, weigh more."
        },
    )
    prompt_weight: float | None = field(
        default=None,
        metadata={
            "help": "Weight of the advantages of the chosen prompts, the others having 1. Valid: [0, 1] to attenuate "
            "(default 0.1), 1 or more to amplify (default 2.0)."
        },
    )
    tau: float = field(
        default=0.5, metadata={"help": "Success rate up to which a prompt is hard; `amplify` only. Valid: [0, 1]."}
    )
    success_threshold: float = field(
        default=0.5,
        metadata={
            "help": "A completion is a success where the weighted sum of its rewards is above it. Not given in the paper; "
            "0.5 suits rewards of 0 and 1. Finite."
        },
    )
    max_failure_length: int | None = field(
        default=None,
        metadata={
            "help": "Failures of at least so many tokens were cut off, and are left out of the mean failure length. "
            "Default: `max_completion_length`. Valid: above 0."
        },
    )

    def __post_init__(self):
        check_adora(self.mode, self.prompt_weight, self.tau, self.success_threshold, self.max_failure_length)


class ADORAAdvantages(AdvantageEstimator):
    """`adora`: with several reward functions, of their weighted sum."""

    Config = ADORAAdvantagesConfig

    def estimate(self, batch: RolloutBatch) -> Advantages:
        config = self.config
        longest = config.max_failure_length if config.max_failure_length is not None else batch.max_completion_length
        given = (batch.totals, batch.num_generations, batch.lengths)
        settings = (config.mode, config.prompt_weight, config.tau, config.success_threshold, longest)
        weights = adora_weights(*given, *settings)
        return Advantages(
            adora_advantages(*given, *settings),
            metrics={
                "adora/prompt_weight_mean": weights.mean().item(),
                "adora/reweighted_prompts": (weights != 1).float().mean().item(),
            },
        )
