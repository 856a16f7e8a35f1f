"""DCPO's advantages (arXiv 2601.12730): GRPO's, mixed with REINFORCE under a tempered target distribution."""

import logging
from dataclasses import dataclass, field
from typing import Any

import torch

from ...objectives.advantages import dcpo_advantages, dcpo_coefficient
from ...objectives.sampling import check_dcpo, dcpo_temperature
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from ..tokens import TokenBatch
from .base import AdvantageEstimator


logger = logging.getLogger(__name__)


@dataclass
class DCPOAdvantagesConfig(PartConfig):
    """Settings of DCPO's advantages.

    Parameters:
        target_entropy (`float`, *optional*, defaults to `0.25`):
            Entropy that the policy is held at, in nats per token.
        temperature_high, temperature_low (`float`, *optional*, defaults to `1.2`, `0.8`):
            Temperature of the target distribution below and above that entropy.
        max_gap (`float`, *optional*, defaults to `0.1`):
            Distance from the target entropy at which the term no longer grows.
        reward_threshold (`float`, *optional*, defaults to `0.05`):
            Summed reward above which a completion is positive.
    """

    target_entropy: float = field(
        default=0.25, metadata={"help": "Entropy to hold the policy at, in nats per token. Valid: finite, at least 0."}
    )
    temperature_high: float = field(
        default=1.2,
        metadata={"help": "Temperature of the target while the entropy is at most its target. Valid: at least 1."},
    )
    temperature_low: float = field(
        default=0.8,
        metadata={"help": "Temperature of the target while the entropy is above. Valid: above 0, up to 1."},
    )
    max_gap: float = field(
        default=0.1,
        metadata={
            "help": "Distance from the target entropy at which the term stops growing, nats. Valid: at least 0."
        },
    )
    reward_threshold: float = field(
        default=0.05,
        metadata={"help": "A completion is positive if its summed, weighted rewards are above this. Valid: finite."},
    )

    def __post_init__(self):
        check_dcpo(
            self.target_entropy, self.temperature_high, self.temperature_low, self.max_gap, self.reward_threshold
        )


class DCPOAdvantages(AdvantageEstimator):
    """`dcpo`: a controller on the entropy, measured as the mean of -log π over the tokens of the last updates.

    State: that entropy (None before the first update), and the sums of the updates since the last generation.
    """

    Config = DCPOAdvantagesConfig
    needs_old_logps = True
    observes_tokens = True
    token_level = True
    ignores = {
        **AdvantageEstimator.ignores,
        "entropy_coef": "TRL's entropy bonus would work against dcpo's own control of the entropy.",
        "use_adaptive_entropy": "TRL's control of the entropy would work against dcpo's own.",
    }

    def __init__(self, config: Any, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.entropy: float | None = None
        self.surprise, self.tokens = 0.0, 0.0
        self._rewards_looked_at = False

    def estimate(self, batch: RolloutBatch) -> Advantages:
        if batch.training and self.tokens > 0:
            self.entropy = self.surprise / self.tokens
            self.surprise, self.tokens = 0.0, 0.0
        config, totals = self.config, batch.totals
        self._look_at_rewards(batch)
        entropy = self._entropy_of(batch) if self.entropy is None else self.entropy
        positive_rate = (totals > config.reward_threshold).float().mean().item()
        alpha = dcpo_coefficient(entropy, positive_rate, config.target_entropy, config.max_gap)
        temperature = dcpo_temperature(entropy, config.target_entropy, config.temperature_high, config.temperature_low)
        # Without weight the target costs nothing: no forward pass.
        target = batch.old_logps if alpha == 0 or temperature == 1 else batch.tempered_logps(temperature)
        values = dcpo_advantages(
            totals, batch.num_generations, batch.old_logps, target, batch.mask, alpha, config.reward_threshold
        )
        return Advantages(
            values,
            metrics={
                "dcpo/entropy": entropy,
                "dcpo/temperature": temperature,
                "dcpo/alpha": alpha,
                "dcpo/positive_rate": positive_rate,
            },
        )

    def observe(self, batch: TokenBatch) -> None:
        surprise = torch.where(batch.mask, -batch.logps.detach(), 0.0).sum(dtype=torch.float64)
        sums = batch.reduce_sum(torch.stack([surprise, batch.mask.sum(dtype=torch.float64)])).tolist()
        self.surprise, self.tokens = self.surprise + sums[0], self.tokens + sums[1]

    def state_dict(self) -> dict[str, Any]:
        return {"entropy": self.entropy, "surprise": self.surprise, "tokens": self.tokens}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.entropy, self.surprise, self.tokens = state["entropy"], state["surprise"], state["tokens"]

    @staticmethod
    def _entropy_of(batch: RolloutBatch) -> float:
        """The same estimate from the generation batch itself, for the batches before the first update."""
        tokens = batch.mask.sum(dtype=torch.float64).clamp(min=1)
        return (torch.where(batch.mask, -batch.old_logps, 0.0).sum(dtype=torch.float64) / tokens).item()

    def _look_at_rewards(self, batch: RolloutBatch) -> None:
        """Warn once of rewards beside which the threshold may not tell right from wrong."""
        if self._rewards_looked_at:
            return
        self._rewards_looked_at = True
        valid = batch.totals[~batch.totals.isnan()]
        outside = len(valid) > 0 and (valid.min() < 0 or valid.max() > 1)
        if outside or len(batch.reward_names) > 1:
            logger.warning(
                "dcpo calls a completion positive where its summed reward is above `reward_threshold` (%g). The rewards "
                "are %s, summed between %g and %g in the first batch: see that only right answers are above.",
                self.config.reward_threshold,
                ", ".join(batch.reward_names),
                valid.min().item() if len(valid) else 0.0,
                valid.max().item() if len(valid) else 0.0,
            )
