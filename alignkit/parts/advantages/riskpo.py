"""RiskPO's advantages (arXiv 2510.00911): the mixed value-at-risk of the scores of bundles of prompts."""

from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import InputError
from ...objectives.advantages import check_riskpo, riskpo_advantages
from ...objectives.arguments import require_range
from ...objectives.sampling import riskpo_bundle_scores, riskpo_update_quantiles
from ..part import PartConfig, default_of
from ..rollout import Advantages, RolloutBatch
from .base import AdvantageEstimator


# Added to the run's seed, so that no two parts draw the same numbers.
SEED_OFFSET = 2510


@dataclass
class RiskPOAdvantagesConfig(PartConfig):
    """Settings of RiskPO's advantages.

    Parameters:
        bundle_size (`int`, *optional*, defaults to `5`):
            Prompts per bundle.
        lower_level, upper_level (`float`, *optional*, default to `0.2` and `0.8`):
            Levels of the two quantiles.
        omega (`float`, *optional*, defaults to `0.5`):
            Extra weight of the lower tail.
        quantile_lr (`float`, *optional*, defaults to `0.1`):
            Step of the quantile tracker.
        permute (`bool`, *optional*, defaults to `True`):
            Whether the completions of a prompt are spread over the bundle's members at random.
        form, w_mix, natural_baseline, divide_by_bundle_std, credit:
            What the official code does differently.
    """

    bundle_size: int = field(
        default=5,
        metadata={"help": "B, prompts per bundle. Valid: at least 1, a divisor of the prompts per generation batch."},
    )
    lower_level: float = field(
        default=0.2, metadata={"help": "α, level of the lower quantile of the scores. Valid: (0, upper_level)."}
    )
    upper_level: float = field(
        default=0.8, metadata={"help": "β, level of the upper quantile of the scores. Valid: (lower_level, 1)."}
    )
    omega: float = field(
        default=0.5,
        metadata={"help": "ω, extra weight of the scores under the lower quantile; form 'paper'. Valid: at least 0."},
    )
    quantile_lr: float = field(
        default=0.1,
        metadata={
            "help": "Step of the quantile tracker, in units of the score. Valid: at least 0. Not given in the paper; "
            "0.1 is the official code's."
        },
    )
    permute: bool = field(
        default=True,
        metadata={
            "help": "Whether each prompt's completions are spread over the members of its bundle at random, as in the "
            "paper. The official code does not."
        },
    )
    form: str = field(
        default="paper",
        metadata={"help": "'paper', or 'official_code': tail and window divided by the sizes of their levels."},
    )
    w_mix: float = field(
        default=1.5, metadata={"help": "Weight of the lower tail; form 'official_code' only. Valid: at least 0."}
    )
    natural_baseline: bool = field(
        default=True,
        metadata={
            "help": "Whether advantages end at 0 at the upper quantile. Without it middle and high scores have positive "
            "advantages, as in the official dapo-math script."
        },
    )
    divide_by_bundle_std: bool = field(
        default=False,
        metadata={
            "help": "Whether to divide by the standard deviation of the bundle's scores, as in the official code. A bundle "
            "of equal scores is divided by 1e-6."
        },
    )
    credit: str = field(
        default="uniform",
        metadata={
            "help": "'uniform': the completions of a member share its advantage. 'std': divided by the standard deviation "
            "of the prompt's rewards. 'sum_mean': by their share of the centred score, which may flip signs."
        },
    )

    def __post_init__(self):
        require_range("upper_level", self.upper_level, 0.0, 1.0, low_open=True, high_open=True)
        require_range("lower_level", self.lower_level, 0.0, self.upper_level, low_open=True, high_open=True)
        require_range("quantile_lr", self.quantile_lr, 0.0)
        check_riskpo(self.bundle_size, self.omega, self.form, w_mix=self.w_mix, credit=self.credit)
        idle = "w_mix" if self.form == "paper" else "omega"
        if getattr(self, idle) != default_of(RiskPOAdvantagesConfig, idle):
            raise InputError(f"`{idle}` is {getattr(self, idle)}, but it has no effect with form {self.form!r}.")


class RiskPOAdvantages(AdvantageEstimator):
    """`riskpo`: scores far below go up the most, scores from the upper quantile on are left alone.

    State: the two quantiles, tracked over the batches of training, and the generator of the permutations.
    """

    Config = RiskPOAdvantagesConfig

    def __init__(self, config: RiskPOAdvantagesConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.generator = torch.Generator().manual_seed(seed + SEED_OFFSET)
        self.quantiles: torch.Tensor | None = None

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        prompts = args.generation_batch_size // args.num_generations
        if prompts % config.bundle_size:
            raise InputError(
                f"`bundle_size` is {config.bundle_size}, which does not divide the {prompts} prompts of a generation "
                f"batch (`generation_batch_size` {args.generation_batch_size} / `num_generations` "
                f"{args.num_generations}); change one of the three."
            )

    def state_dict(self) -> dict[str, Any]:
        return {"quantiles": self.quantiles, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.quantiles = state["quantiles"]
        self.generator.set_state(state["generator"])

    def estimate(self, batch: RolloutBatch) -> Advantages:
        config, size = self.config, batch.num_generations
        # On the CPU and in float64, so that every process tracks the same quantiles to the last bit.
        rewards = batch.totals.detach().cpu().double()
        prompts = len(rewards) // size
        # An evaluation batch may end within a bundle; its last prompts have no score.
        bundled = prompts - prompts % config.bundle_size
        scored = rewards[: bundled * size]
        order = self._permutation(bundled, size) if batch.training else None
        scores = riskpo_bundle_scores(scored, size, config.bundle_size, order)
        levels = [config.lower_level, config.upper_level]
        known = self.quantiles
        quantiles = known
        if quantiles is None and not scores.isnan().all():
            quantiles = riskpo_update_quantiles(levels, scores)
        if quantiles is None:
            return Advantages(torch.zeros_like(rewards).to(batch.rewards))
        low, high = quantiles.tolist()
        advantages = torch.zeros_like(rewards)
        advantages[: len(scored)] = riskpo_advantages(
            scored,
            size,
            low,
            high,
            config.bundle_size,
            config.omega,
            order,
            config.form,
            config.lower_level,
            config.upper_level,
            config.w_mix,
            config.natural_baseline,
            config.divide_by_bundle_std,
            config.credit,
        )
        if batch.training:
            # The first batch only starts the tracker.
            self.quantiles = quantiles if known is None else self._track(levels, scores, known)
        valid = scores[~scores.isnan()]
        metrics = {"riskpo/q_alpha": low, "riskpo/q_beta": high}
        if len(valid):
            metrics["riskpo/score_mean"] = valid.mean().item()
            metrics["riskpo/below_q_alpha"] = (valid < low).double().mean().item()
            metrics["riskpo/from_q_beta_on"] = (valid >= high).double().mean().item()
        return Advantages(advantages.to(batch.rewards), metrics=metrics)

    def _permutation(self, prompts: int, size: int) -> torch.Tensor | None:
        """[M, G] a random order of each prompt's completions; None for the order they come in."""
        if not self.config.permute:
            return None
        return torch.rand(prompts, size, generator=self.generator).argsort(dim=1)

    def _track(self, levels: list[float], scores: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """The quantiles after one more batch, in order."""
        low, high = riskpo_update_quantiles(levels, scores, known, self.config.quantile_lr)
        return torch.stack([low, torch.maximum(low, high)])
