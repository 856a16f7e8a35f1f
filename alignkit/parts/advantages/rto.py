"""RTO's advantages: GAE over token rewards that a finished DPO model gives, beside the KL penalty and the score."""

from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import InputError
from ...objectives.rewards import check_rto, rto_implicit_reward, rto_token_rewards
from ..rollout import RolloutBatch
from .gae import GAEAdvantages, GAEAdvantagesConfig


DPO_MODEL, DPO_REFERENCE = "dpo", "dpo_ref"


@dataclass
class RTOAdvantagesConfig(GAEAdvantagesConfig):
    r"""Settings of RTO's token rewards and of the GAE that sums them; the paper's β₂ is `kl_coef`.

    Parameters:
        beta1 (`float`, *optional*, defaults to `0.05`):
            Weight of the DPO model's log-ratio at each token.
        kl_coef (`float`, *optional*, defaults to `0.01`):
            β₂, weight of the KL to the reference.
        beta3 (`float`, *optional*, defaults to `1.0`):
            Weight of the score at the last token; 0 trains on the DPO model alone.
        dpo_clip (`float`, *optional*, defaults to `0.05`):
            Bound of the weighted log-ratio of a token.
        score_clip (`float`, *optional*, defaults to `10.0`):
            Bound of a completion's score.
        dpo_ref (`str`, *optional*):
            The reference that the DPO model was trained against, where it is not the policy's.
    """

    beta1: float = field(
        default=0.05,
        metadata={
            "help": "Weight of the DPO model's log-ratio at each token (beta_1). Valid: at least 0; the authors advise 0.05, "
            "so that it does not dominate."
        },
    )
    kl_coef: float = field(
        default=0.01,
        metadata={"help": "Weight of the KL to the reference in the token rewards (beta_2). Valid: at least 0."},
    )
    beta3: float = field(
        default=1.0,
        metadata={
            "help": "Weight of the score at the last token (beta_3). Valid: at least 0; 0: the DPO model alone."
        },
    )
    dpo_clip: float | None = field(
        default=0.05,
        metadata={
            "help": "Bound of the weighted log-ratio of a token, from the authors' script. Valid: above 0; none: no bound."
        },
    )
    score_clip: float | None = field(
        default=10.0, metadata={"help": "Bound of a completion's score. Valid: above 0; none: not clipped."}
    )
    dpo_ref: str | None = field(
        default=None,
        metadata={
            "help": "Reference that the DPO model was trained against (adapter folder, model folder or Hub name), where it "
            "is not the policy's own."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        check_rto(self.beta1, self.kl_coef, self.beta3, self.dpo_clip, self.score_clip)
        if self.kl_estimator != "k1":
            raise ValueError(f"`kl_estimator` is {self.kl_estimator!r}; RTO's KL is the log-ratio itself, 'k1'.")


class RTOAdvantages(GAEAdvantages):
    """`rto`: advantages [N, T] from a DPO model's token rewards and the critic's values; the method `rto` alone has both.

    State: the adaptive KL weight.
    """

    Config = RTOAdvantagesConfig

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        if not hasattr(args, "dpo_model"):
            raise InputError(
                "advantage `rto` needs a critic and a DPO model, which the method `rto` alone has; train that."
            )

    @classmethod
    def needs_reference(cls, config: Any) -> bool:
        return config.kl_coef > 0 or config.dpo_ref is None

    def token_rewards(self, batch: RolloutBatch, scores: torch.Tensor) -> torch.Tensor:
        config, own_reference = self.config, self.config.dpo_ref is not None
        return rto_token_rewards(
            scores,
            batch.old_logps,
            # Without a KL the reference has weight 0.
            batch.ref_logps if self.needs_reference(config) else batch.old_logps,
            batch.logps_under(DPO_MODEL),
            batch.mask,
            beta1=config.beta1,
            beta2=self.kl_coef,
            beta3=config.beta3,
            dpo_clip=config.dpo_clip,
            score_clip=config.score_clip,
            dpo_ref_logps=batch.logps_under(DPO_REFERENCE) if own_reference else None,
        )

    def reward_metrics(self, batch: RolloutBatch, mask: torch.Tensor) -> dict[str, float]:
        config, completions = self.config, max(int(mask.any(dim=1).sum()), 1)
        reference = batch.ref_logps if config.dpo_ref is None else batch.logps_under(DPO_REFERENCE)
        dpo_logps = batch.logps_under(DPO_MODEL)
        dense = torch.where(mask, config.beta1 * (dpo_logps - reference), 0.0)
        limit = torch.inf if config.dpo_clip is None else config.dpo_clip
        implicit = rto_implicit_reward(dpo_logps, reference, mask, config.beta1)
        return {
            "rto/implicit_reward": implicit.sum().item() / completions,
            "rto/dense_reward": dense.clamp(-limit, limit).sum().item() / completions,
            "rto/clip_fraction": (dense.abs() > limit).sum().item() / max(int(mask.sum()), 1),
        }
