"""Accelerated preference optimisation (arXiv 2410.06293): Nesterov momentum over the iterations of DPO."""

from dataclasses import dataclass, field
from typing import ClassVar

from ...catalog import get
from ...data.bundled import resolve_model
from ...objectives.arguments import require_choice
from ...objectives.preference import apo_accelerated_loss, check_apo_accelerated
from .base import PreferenceBatch, PreferenceConfig, PreferenceTrainer


MOMENTUM_SPACES = ("parameters", "logits")


@dataclass
class APOAcceleratedConfig(PreferenceConfig):
    """Configuration of [`APOAcceleratedTrainer`].

    Parameters:
        alpha (`float`, *optional*, defaults to `0.3`):
            Momentum. Valid: in [0, 1).
        momentum_space (`str`, *optional*, defaults to `"parameters"`):
            `"parameters"`: training starts from extrapolated weights, which are also the reference, so the loss is DPO's.
            `"logits"`: the reference of the loss is the exact extrapolation of two models' log-probabilities.
        previous_model (`str`, *optional*):
            With `"logits"`: the model trained one iteration earlier than the reference. Without it the columns
            `previous_chosen_logps` and `previous_rejected_logps` are read.
        loss_type (`list[str]`, *optional*, defaults to `["sigmoid"]`):
            `"sigmoid"` or `"ipo"`.
    """

    own_loss_types: ClassVar[tuple[str, ...]] = ("sigmoid", "ipo")

    alpha: float = field(
        default=0.3,
        metadata={
            "help": "Momentum: how far past the trained policy the next iteration starts, as a share of the last step. "
            "Valid: in [0, 1); 0 is iterative DPO. 0.3 is recalled from the paper, not verified."
        },
    )
    momentum_space: str = field(
        default="parameters",
        metadata={
            "help": "'parameters': start from extrapolated weights, which are also the reference. 'logits': the "
            "reference is (1 + alpha) log pi_t - alpha log pi_(t-1), exact for losses on differences of log-ratios."
        },
    )
    previous_model: str | None = field(
        default=None,
        metadata={
            "help": "With momentum_space 'logits': the model trained one iteration before the reference (adapter "
            "folder, model folder or Hub name). Without it the columns previous_*_logps are read."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        check_apo_accelerated(self.alpha, self.beta, self.loss_type[0])
        require_choice("momentum_space", self.momentum_space, MOMENTUM_SPACES)
        if self.previous_model and self.momentum_space != "logits":
            raise ValueError(
                f"`previous_model` is {self.previous_model!r}, but `momentum_space` 'parameters' does not read it; "
                "leave it out or set `momentum_space` to 'logits'."
            )


class APOAcceleratedTrainer(PreferenceTrainer):
    """One iteration of accelerated preference optimisation.

    With `momentum_space="logits"` the data set needs `previous_chosen_logps` and `previous_rejected_logps` in nats,
    unless `previous_model` is named. `args` is an [`APOAcceleratedConfig`]; the other arguments are those of
    `trl.DPOTrainer`. `alignkit loop apo_accelerated` makes the pairs and extrapolates between the iterations.
    """

    _tag_names = ["alignkit", "trl", "apo_accelerated"]
    _name = "Accelerated Preference Optimization"
    _paper = get("apo_accelerated").paper
    method_key = "apo_accelerated"

    args: APOAcceleratedConfig

    @classmethod
    def extra_columns(cls, args) -> tuple[str, ...]:
        reads_columns = args.momentum_space == "logits" and not args.previous_model
        return ("previous_chosen_logps", "previous_rejected_logps") if reads_columns else ()

    def frozen_references(self) -> dict[str, str]:
        return {"previous": resolve_model(self.args.previous_model)} if self.args.previous_model else {}

    def preference_loss(self, batch: PreferenceBatch):
        exact = self.args.momentum_space == "logits"
        # Extrapolated weights are the reference by themselves: no momentum is left for the loss.
        chosen = batch.columns["previous_chosen_logps"] if exact else batch.ref_chosen_logps
        rejected = batch.columns["previous_rejected_logps"] if exact else batch.ref_rejected_logps
        alpha = self.args.alpha if exact else 0.0
        return apo_accelerated_loss(*batch.logps, chosen, rejected, self.beta, alpha, self.args.loss_type[0])
