"""Advantage estimators: from the rewards of a generation batch to what each completion, or token, is worth."""

from typing import Any, ClassVar

from ..part import Part
from ..rollout import Advantages, RolloutBatch
from ..tokens import TokenBatch


class AdvantageEstimator(Part):
    """Base of the estimators.

    Class attributes:
        own: False where TRL computes the advantages itself, under the fields that the part sets.
        needs_old_logps: whether the log-probabilities under the generating policy must be computed even where the
            update is on-policy.
        observes_tokens: whether `observe` wants every micro-batch of training.
        token_level: whether the advantages are [N, T].
        any_groups: whether it reads `RolloutBatch.groups` instead of counting on consecutive runs of equal size.
    """

    own: ClassVar[bool] = True
    needs_old_logps: ClassVar[bool] = False
    observes_tokens: ClassVar[bool] = False
    token_level: ClassVar[bool] = False
    any_groups: ClassVar[bool] = False
    # TRL's own choices of advantages, which an own estimator replaces.
    ignores = {
        "scale_rewards": "the advantages are the part's own, and TRL's scaling would have no effect.",
        "multi_objective_aggregation": "the advantages are the part's own; TRL's aggregation would have no effect.",
    }

    @classmethod
    def extras(cls, config: Any) -> tuple[str, ...]:
        """Names of the extra tensors that it gives, for a policy loss that needs them."""
        return ()

    def estimate(self, batch: RolloutBatch) -> Advantages:
        """The advantages of a generation batch; state changes only where `batch.training`."""
        raise NotImplementedError

    def observe(self, batch: TokenBatch) -> None:
        """Look at a micro-batch of training after its forward pass."""


class TRLAdvantages(AdvantageEstimator):
    """`grpo`: TRL's own, group-centred and scaled as `scale_rewards` says (methods: grpo_base)."""

    own = False
    ignores: ClassVar[dict[str, str]] = {}
