"""Advantages and KL weights of Asymmetric Policy Optimization (arXiv 2506.21655): STCR and DADS."""

from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import InputError
from ...objectives.advantages import (
    apo_asymmetric_advantages,
    apo_asymmetric_kl_weights,
    check_apo_asymmetric,
    grpo_advantages,
)
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from .base import AdvantageEstimator


@dataclass
class APOAsymmetricAdvantagesConfig(PartConfig):
    """Settings of the two asymmetries.

    Parameters:
        correct_reward (`str` or `int`, *optional*):
            The reward function that tells what is correct; needed where there are several.
        correct_threshold (`float`, *optional*, defaults to `1.0`):
            Lowest reward of a correct completion.
        stcr_base (`float`, *optional*, defaults to `1.00001`):
            Base of the length factor.
        use_dads, use_stcr (`bool`, *optional*, default to `True`):
            Whether KL weights and length factor are used.
    """

    correct_reward: str | int | None = field(
        default=None,
        metadata={
            "help": "The reward function that tells what is correct: its name in the log, or its place counted from 0. "
            "Needed where there are several."
        },
    )
    correct_threshold: float = field(
        default=1.0, metadata={"help": "Lowest reward of a correct completion. Valid: finite."}
    )
    stcr_base: float = field(
        default=1.00001,
        metadata={
            "help": "Base c of the factor 2 - c^(-excess tokens) on over-long wrong completions. Valid: at least 1 (off). "
            "The released value is close to off: 1.01 at 1000 tokens too many."
        },
    )
    use_dads: bool = field(
        default=True, metadata={"help": "Whether the KL term of right completions of hard prompts is weakened (DADS)."}
    )
    use_stcr: bool = field(
        default=True, metadata={"help": "Whether over-long wrong completions are pushed down harder (STCR)."}
    )

    def __post_init__(self):
        check_apo_asymmetric(self.stcr_base, self.correct_threshold)


class APOAsymmetricAdvantages(AdvantageEstimator):
    """`apo_asymmetric`: GRPO's advantages with the length factor, and a KL weight for each completion."""

    Config = APOAsymmetricAdvantagesConfig

    @classmethod
    def extras(cls, config: Any) -> tuple[str, ...]:
        return ("kl_weights",)

    @classmethod
    def warnings(cls, config: Any, args: Any) -> list[str]:
        if config.use_dads and args.beta == 0:
            return ["`beta` is 0: there is no KL term, and the weights of `use_dads` have no effect."]
        return []

    def check_rewards(self, names: list[str]) -> None:
        self._correct_column(names)

    def _correct_column(self, names: list[str]) -> int:
        chosen = self.config.correct_reward
        if chosen is None:
            if len(names) > 1:
                raise InputError(
                    "`correct_reward` is missing: name the reward function that tells what is correct, one of "
                    f"{', '.join(names)}."
                )
            return 0
        if isinstance(chosen, str) and not chosen.isdigit():
            if chosen in names:
                return names.index(chosen)
        elif 0 <= int(chosen) < len(names):
            return int(chosen)
        raise InputError(
            f"`correct_reward` is {chosen!r}; valid: one of {', '.join(names)}, or a place from 0 to {len(names) - 1}."
        )

    def estimate(self, batch: RolloutBatch) -> Advantages:
        config, rewards = self.config, batch.totals
        correctness = batch.rewards[:, self._correct_column(batch.reward_names)]
        group = batch.num_generations
        plain = grpo_advantages(rewards, group)
        values, weights = plain, torch.ones_like(plain)
        if config.use_stcr:
            values = apo_asymmetric_advantages(
                rewards, group, batch.lengths, config.correct_threshold, config.stcr_base, correctness=correctness
            )
        if config.use_dads:
            weights = apo_asymmetric_kl_weights(rewards, group, config.correct_threshold, correctness=correctness)
        enlarged = values != plain
        factor = torch.where(enlarged, values / plain, 1.0)
        return Advantages(
            values,
            extras={"kl_weights": weights},
            metrics={
                "apo_asymmetric/kl_weight": float(weights.mean()),
                "apo_asymmetric/overlong_share": float(enlarged.to(torch.float32).mean()),
                "apo_asymmetric/length_factor_max": float(factor.max()),
            },
        )
