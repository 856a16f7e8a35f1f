"""Policy losses: from log-probabilities and advantages to a loss for each token."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ...objectives.arguments import require_choice
from ...objectives.policy.aggregation import AGGREGATIONS
from ..part import Part, PartConfig
from ..tokens import TokenBatch


@dataclass
class PolicyLossConfig(PartConfig):
    """What every own policy loss takes.

    Parameters:
        aggregation (`str`, *optional*, defaults to `"grpo"`):
            From token losses to one number, by TRL's names.
    """

    aggregation: str = field(
        default="grpo",
        metadata={
            "help": "From token losses to one number: 'grpo' (mean over completions of token means), 'bnpo' (token mean "
            "of the micro-batch), 'dapo' (token mean of the accumulation window), 'dr_grpo' (token sum over "
            "completions times max_completion_length) or 'luspo' (mean over completions of token sums)."
        },
    )

    def __post_init__(self):
        require_choice("aggregation", self.aggregation, AGGREGATIONS)


class PolicyLoss(Part):
    """Base of the policy losses.

    Class attributes:
        own: False where TRL computes the loss itself, under the fields that the part sets.
        needs_extras: tensors that the advantage estimator must give.
        own_kl: whether `token_loss` holds the KL term, which is otherwise TRL's.
        log_ratio_limit: bound on the log-ratio that TRL's loss sees; None leaves it alone.
        row_by_row: False where the loss of a completion depends on the other ones of its micro-batch.
    """

    Config: ClassVar[type[PartConfig]] = PolicyLossConfig
    own: ClassVar[bool] = True
    needs_extras: ClassVar[tuple[str, ...]] = ()
    own_kl: ClassVar[bool] = False
    log_ratio_limit: ClassVar[float | None] = None
    row_by_row: ClassVar[bool] = True
    ignores = {
        "delta": "two-sided clipping belongs to TRL's losses.",
        "importance_sampling_level": "the loss has a ratio for each token.",
        "off_policy_mask_threshold": "the mask is one of TRL's losses.",
        "top_entropy_quantile": "the mask is one of TRL's losses.",
    }

    @classmethod
    def settings(cls, config: Any) -> dict[str, Any]:
        return {**cls.sets, "loss_type": config.aggregation}

    def token_loss(self, batch: TokenBatch) -> torch.Tensor:
        """[n, T] losses, 0 where masked; fills `batch.metrics`."""
        raise NotImplementedError

    def measure(self, batch: TokenBatch, args: Any) -> None:
        """Fill `batch.metrics` where TRL computes the loss, under the trainer's configuration `args`."""


def is_on_policy(args: Any) -> bool:
    """Whether every completion is trained on by the very policy that generated it, so that all ratios are 1."""
    return args.gradient_accumulation_steps % (args.steps_per_generation * args.num_iterations) == 0


ON_POLICY = (
    "the update is exactly on-policy (`num_iterations` 1, and a generation batch that one update uses up): {effect} Set "
    "`num_iterations` above 1, or `steps_per_generation` to a multiple of `gradient_accumulation_steps`."
)
