"""T-PPO's advantages: extended GAE (arXiv 2506.15050) over responses of which some are not finished yet."""

from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import InputError
from ...objectives.advantages import whiten
from ...objectives.sampling import tppo_token_masks
from ...objectives.values import egae, gae
from ..rollout import Advantages, RolloutBatch
from .gae import GAEAdvantages, GAEAdvantagesConfig


@dataclass
class EGAEAdvantagesConfig(GAEAdvantagesConfig):
    r"""Settings of extended GAE. Its token rewards are the score of a finished response at its last token alone.

    Parameters:
        kl_coef (`float`, *optional*, defaults to `0.0`):
            There is no KL in the rewards.
        critic_lam (`float`, *optional*, defaults to `1.0`):
            λ of the critic's targets; 1 is Monte Carlo.

    Raises:
        ValueError: for a setting of GAE that has no meaning where responses are unfinished.
    """

    kl_coef: float = field(
        default=0.0, metadata={"help": "There is no KL in the token rewards: 0. `beta` puts one into the loss."}
    )
    critic_lam: float | None = field(
        default=1.0,
        metadata={"help": "Lambda of the critic's targets, 1: Monte Carlo. Valid: 0 to 1; none: `lam`."},
    )

    def __post_init__(self):
        super().__post_init__()
        if self.kl_coef != 0:
            raise ValueError(
                f"`kl_coef` is {self.kl_coef}; the token rewards of T-PPO hold no KL. Set `beta` for one in the loss."
            )
        if self.bootstrap_truncated:
            raise ValueError(
                "`bootstrap_truncated` is set; in T-PPO a response that reached its longest length is finished."
            )
        if self.whiten_rewards:
            raise ValueError("`whiten_rewards` is set, but the rewards of unfinished responses are not known.")


class EGAEAdvantages(GAEAdvantages):
    """`egae`: advantages [N, T] of the tokens of this window, finished responses alone for the critic; `tppo` alone has both.

    State: none that changes.
    """

    Config = EGAEAdvantagesConfig

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        if not hasattr(args, "window_length"):
            raise InputError(
                "advantage `egae` needs a critic and responses written in windows, which the method `tppo` alone has; "
                "train that."
            )

    def estimate(self, batch: RolloutBatch) -> Advantages:
        config, unfinished = self.config, batch.unfinished
        scores = torch.where(unfinished, 0.0, batch.totals)
        scored = ~scores.isnan()[:, None]
        masks = tppo_token_masks(batch.mask, batch.window_start, unfinished)
        policy_mask, value_mask = masks.policy_mask & scored, masks.value_mask & scored
        rewards = self.token_rewards(batch, scores)
        advantages = egae(rewards, batch.values, batch.mask, unfinished, config.gamma, config.lam).advantages
        targets = gae(
            rewards, batch.values, batch.mask, config.gamma, config.lam, critic_lam=config.critic_lam
        ).returns
        if config.whiten_advantages:
            advantages = whiten(advantages, policy_mask)
        return Advantages(
            values=torch.where(policy_mask, advantages, 0.0),
            extras={
                "old_values": batch.values,
                "returns": torch.where(value_mask, targets, 0.0),
                "scored": policy_mask,
                "value_mask": value_mask,
            },
            metrics=self._critic_metrics(batch, value_mask, targets) if value_mask.any() else {},
        )
