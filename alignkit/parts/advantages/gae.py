"""PPO's advantages: generalised advantage estimation over token rewards, with a critic's values."""

from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import InputError
from ...objectives.advantages import whiten
from ...objectives.policy import kl_estimate
from ...objectives.rewards import check_kl_rewards, kl_shaped_rewards
from ...objectives.values import adaptive_kl_coef, check_adaptive_kl, check_gae, gae
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from ..tokens import TokenBatch
from .base import AdvantageEstimator


@dataclass
class GAEAdvantagesConfig(PartConfig):
    r"""Settings of GAE and of the token rewards it sums.

    Parameters:
        gamma, lam (`float`, *optional*, defaults to `1.0` and `0.95`):
            Discount and GAE's λ.
        critic_lam (`float`, *optional*):
            Another λ for the critic's targets.
        kl_coef (`float`, *optional*, defaults to `0.05`):
            Weight of the KL to the reference in the reward; 0 needs no reference.
        kl_estimator (`str`, *optional*, defaults to `"k1"`):
            `"k1"`, `"k2"` or `"k3"`.
        kl_target, kl_horizon (`float`, *optional*):
            Turn the weight into an adaptive one.
        score_clip (`float`, *optional*):
            Bound of a completion's score.
        bootstrap_truncated (`bool`, *optional*, defaults to `False`):
            Whether the critic says what a completion that was cut off would still have earned.
        whiten_rewards (`bool`, *optional*, defaults to `False`):
            Whether the token rewards are brought to spread 1, their mean kept.
        whiten_advantages (`bool`, *optional*, defaults to `True`):
            Whether the advantages are whitened over the tokens of the generation batch.

    Raises:
        ValueError: for a value outside its range, and for `kl_target` without a KL.
    """

    gamma: float = field(default=1.0, metadata={"help": "Discount of a token's reward. Valid: 0 to 1."})
    lam: float = field(default=0.95, metadata={"help": "GAE's lambda: 1 trusts returns, 0 the critic. Valid: 0 to 1."})
    critic_lam: float | None = field(
        default=None,
        metadata={"help": "Another lambda for the critic's targets (VC-PPO). Valid: 0 to 1; none: `lam`."},
    )
    kl_coef: float = field(
        default=0.05,
        metadata={
            "help": "Weight of the KL to the reference in the token rewards. Valid: at least 0; 0: no reference."
        },
    )
    kl_estimator: str = field(default="k1", metadata={"help": "Estimator of that KL: 'k1', 'k2' or 'k3'."})
    kl_target: float | None = field(
        default=None,
        metadata={
            "help": "KL of a completion, in nats, that an adaptive `kl_coef` steers to (Ziegler et al. 2019). None: fixed."
        },
    )
    kl_horizon: float = field(
        default=10000.0, metadata={"help": "Completions over which an adaptive `kl_coef` reacts. Valid: above 0."}
    )
    score_clip: float | None = field(
        default=None, metadata={"help": "Bound of a completion's score. Valid: above 0; none: not clipped."}
    )
    bootstrap_truncated: bool = field(
        default=False,
        metadata={
            "help": "Whether the critic's value stands for the rest of a completion that was cut off at "
            "`max_completion_length`, beside its score. Otherwise it counts as finished."
        },
    )
    whiten_rewards: bool = field(
        default=False,
        metadata={"help": "Whether the token rewards of a generation batch get spread 1, their mean kept."},
    )
    whiten_advantages: bool = field(
        default=True, metadata={"help": "Whether advantages are whitened over all tokens of the generation batch."}
    )

    def __post_init__(self):
        check_gae(self.gamma, self.lam, self.critic_lam)
        check_kl_rewards(self.kl_coef, self.kl_estimator, self.score_clip)
        if self.kl_target is not None:
            check_adaptive_kl(self.kl_target, self.kl_horizon)
            if self.kl_coef == 0:
                raise ValueError(f"`kl_target` is {self.kl_target}, but `kl_coef` is 0: there is no weight to adapt.")


class GAEAdvantages(AdvantageEstimator):
    """`gae`: advantages [N, T] from token rewards and the critic's values; PPO trainers alone have a critic.

    State: the adaptive KL weight.
    """

    Config = GAEAdvantagesConfig
    needs_old_logps = True
    token_level = True
    observes_tokens = True

    def __init__(self, config: Any, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.kl_coef: float = config.kl_coef

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        if not hasattr(args, "critic"):
            raise InputError(
                "advantage `gae` needs a critic, which the PPO methods alone have; train the method `ppo`."
            )

    @classmethod
    def needs_reference(cls, config: Any) -> bool:
        """Whether the token rewards are measured against the reference."""
        return config.kl_coef > 0

    def token_rewards(self, batch: RolloutBatch, scores: torch.Tensor) -> torch.Tensor:
        """[N, T] rewards: the KL penalty, and the score at the last token; NaN there where the row has no score."""
        config = self.config
        ref_logps = batch.ref_logps if self.needs_reference(config) else None
        return kl_shaped_rewards(
            scores, batch.old_logps, ref_logps, batch.mask, self.kl_coef, config.kl_estimator, config.score_clip
        )

    def reward_metrics(self, batch: RolloutBatch, mask: torch.Tensor) -> dict[str, float]:
        """What to log of the token rewards beside the KL; `mask` leaves out rows without a score."""
        return {}

    def estimate(self, batch: RolloutBatch) -> Advantages:
        config, scores = self.config, batch.totals
        mask = batch.mask & ~scores.isnan()[:, None]
        rewards = self.token_rewards(batch, scores)
        if config.whiten_rewards:
            rewards = torch.where(mask, whiten(rewards, mask, shift_mean=False), rewards)
        ends = torch.where(batch.truncated, batch.end_values, 0.0) if config.bootstrap_truncated else None
        estimate = gae(rewards, batch.values, batch.mask, config.gamma, config.lam, ends, config.critic_lam)
        advantages = whiten(estimate.advantages, mask) if config.whiten_advantages else estimate.advantages
        metrics = {**self._critic_metrics(batch, mask, estimate.returns), **self.reward_metrics(batch, mask)}
        if config.kl_coef > 0:
            metrics |= self._follow_kl(batch, mask)
        # The trainer counts the tokens of `scored` alone: a row that nobody scored takes part in no loss.
        extras = {"old_values": batch.values, "returns": estimate.returns, "scored": mask}
        return Advantages(advantages, extras, metrics)

    def _follow_kl(self, batch: RolloutBatch, mask: torch.Tensor) -> dict[str, float]:
        """The KL of a completion to the reference; where it is steered, its weight for the next batch is set."""
        config, completions = self.config, int(mask.any(dim=1).sum())
        kl = kl_estimate(batch.old_logps, batch.ref_logps, config.kl_estimator)
        current = torch.where(mask, kl, 0.0).sum().item() / max(completions, 1)
        if config.kl_target is None:
            return {"objective/kl": current}
        used = self.kl_coef
        if batch.training and completions:
            self.kl_coef = adaptive_kl_coef(used, current, config.kl_target, len(mask), config.kl_horizon)
        return {"objective/kl": current, "objective/kl_coef": used}

    def _critic_metrics(self, batch: RolloutBatch, mask: torch.Tensor, returns: torch.Tensor) -> dict[str, float]:
        """How good the critic was on this batch, and what it is asked to predict."""
        targets, values = returns[mask], batch.values[mask]
        if not len(targets):
            return {"objective/score": batch.totals.nanmean().item()}
        spread = targets.var(unbiased=False)
        explained = 1 - (targets - values).var(unbiased=False) / spread if spread > 0 else targets.new_zeros(())
        return {
            "objective/score": batch.totals.nanmean().item(),
            "returns/mean": targets.mean().item(),
            "value/mean": values.mean().item(),
            "value/explained_variance": explained.item(),
        }

    def observe(self, batch: TokenBatch) -> None:
        """Measure how far the policy has moved from the one that generated, KL(old || new) by k3."""
        if batch.old_logps is not None:
            batch.metrics["policy/approx_kl"] = kl_estimate(batch.old_logps, batch.logps.detach(), "k3")

    def state_dict(self) -> dict[str, Any]:
        return {"kl_coef": self.kl_coef}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kl_coef = state["kl_coef"]
