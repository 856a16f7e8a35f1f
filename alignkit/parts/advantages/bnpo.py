"""BNPO's advantages (arXiv 2506.02864): centred rewards divided by a Beta density fitted to the pass rates.

TRL's `loss_type="bnpo"` is something else: an average of token losses over the micro-batch.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from ...errors import InputError
from ...objectives.advantages import bnpo_advantages, bnpo_beta_parameters, bnpo_pass_rates, check_bnpo
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from .base import AdvantageEstimator


@dataclass
class BNPOAdvantagesConfig(PartConfig):
    """Settings of BNPO's advantages.

    Parameters:
        reward_min, reward_max (`float` or `list[float]`, *optional*, default to `0.0` and `1.0`):
            Bounds of the rewards, which are mapped to [0, 1]; one for all reward functions or one for each.
        density_alpha, density_beta (`float`, *optional*):
            Parameters of the density, fitted to every batch where left out.
        max_density_weight (`float`, *optional*, defaults to `1e6`):
            Limit of one over the density.
    """

    reward_min: float | list[float] = field(
        default=0.0,
        metadata={
            "help": "Lowest possible reward, one for all reward functions or one for each. A reward below it ends the "
            "run. Finite."
        },
    )
    reward_max: float | list[float] = field(
        default=1.0,
        metadata={
            "help": "Highest possible reward, one for all reward functions or one for each. A reward above it ends the "
            "run. Finite, above `reward_min`."
        },
    )
    density_alpha: float | None = field(
        default=None,
        metadata={
            "help": "α of the Beta density in place of the fitted one; with 1 and 1 for both the rewards are only "
            "centred. Valid: above 0, given together with `density_beta`."
        },
    )
    density_beta: float | None = field(
        default=None, metadata={"help": "β of the Beta density. Valid: above 0, given together with `density_alpha`."}
    )
    max_density_weight: float = field(
        default=1e6, metadata={"help": "Limit of one over the density. Valid: above 0. 1e6 is the official code's."}
    )

    def __post_init__(self):
        check_bnpo(self.reward_min, self.reward_max, max_weight=self.max_density_weight)
        if (self.density_alpha is None) != (self.density_beta is None):
            raise InputError(
                f"`density_alpha` is {self.density_alpha} and `density_beta` {self.density_beta}; give both, or neither "
                "to fit them."
            )
        for name in ("density_alpha", "density_beta"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"`{name}` is {value}; valid range: (0, inf).")


class BNPOAdvantages(AdvantageEstimator):
    """`bnpo`: each reward function has its own pass rates and density; their advantages are averaged."""

    Config = BNPOAdvantagesConfig

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        prompts = args.generation_batch_size // args.num_generations
        if config.density_alpha is None and prompts < 2:
            raise InputError(
                f"advantage `bnpo` fits a density to the pass rates of the prompts of a generation batch, and there is "
                f"{prompts} (`generation_batch_size` {args.generation_batch_size} / `num_generations` "
                f"{args.num_generations}); at least 2 are needed, the paper has 32."
            )

    @classmethod
    def warnings(cls, config: Any, args: Any) -> list[str]:
        if args.loss_type != "bnpo":
            return []
        return [
            "`loss_type` is 'bnpo', which in TRL is a token mean over the micro-batch and has nothing to do with Beta "
            "Normalization; that is the advantage `bnpo`, whose official code sums tokens (`loss_type` 'luspo')."
        ]

    def check_rewards(self, names: list[str]) -> None:
        for name in ("reward_min", "reward_max"):
            bound = getattr(self.config, name)
            if isinstance(bound, list) and len(bound) != len(names):
                raise InputError(
                    f"`{name}` has {len(bound)} numbers for {len(names)} reward functions ({', '.join(names)}); give "
                    "one for all or one for each."
                )

    def estimate(self, batch: RolloutBatch) -> Advantages:
        config = self.config
        bounds = (config.reward_min, config.reward_max)
        try:
            rates = bnpo_pass_rates(batch.rewards, batch.num_generations, *bounds)
        except ValueError as error:
            raise InputError(
                f"advantage `bnpo`, reward functions {', '.join(batch.reward_names)}: {error} Set them to the bounds of "
                "your rewards."
            ) from error
        values = bnpo_advantages(
            batch.rewards,
            batch.num_generations,
            *bounds,
            config.density_alpha,
            config.density_beta,
            batch.reward_weights,
            config.max_density_weight,
        )
        metrics = {}
        for name, column in zip(batch.reward_names, rates.T, strict=True):
            metrics[f"bnpo/pass_rate/{name}"] = column.nanmean().item()
            if config.density_alpha is None:
                alpha, beta = bnpo_beta_parameters(column)
                metrics |= {f"bnpo/alpha/{name}": alpha, f"bnpo/beta/{name}": beta}
        return Advantages(values, metrics=metrics)
