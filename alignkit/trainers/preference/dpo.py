"""DPO (arXiv 2305.18290), with every loss type of `trl.DPOTrainer`."""

from dataclasses import dataclass
from typing import ClassVar

from trl import DPOTrainer as TRLDPOTrainer

from .base import PreferenceConfig, PreferenceTrainer


@dataclass
class DPOConfig(PreferenceConfig):
    """Configuration of [`DPOTrainer`]: all of [`trl.DPOConfig`], its loss types and loss weights included."""

    own_loss_types: ClassVar[tuple[str, ...]] = ("sigmoid",)

    def check_loss_fields(self) -> None:
        if self.sft_weight and self.uses_trl_loss:
            raise ValueError(
                f"`sft_weight` is {self.sft_weight}, but the other loss fields choose a loss of TRL's; add the SFT term "
                "there: `loss_type: [..., sft]` with `loss_weights`."
            )

    @property
    def uses_trl_loss(self) -> bool:
        """Whether anything but the plain sigmoid loss is asked for."""
        return self.loss_type != ["sigmoid"] or bool(self.changed_loss_fields())


class DPOTrainer(PreferenceTrainer):
    """DPO on preference pairs. `args` is a [`DPOConfig`]; the other arguments are those of `trl.DPOTrainer`.

    The plain sigmoid loss is the family's own; any other choice of `loss_type`, `loss_weights`, `f_divergence_type` and
    so on is computed by `trl.DPOTrainer` itself.
    """

    _name = "DPO"
    method_key = "dpo"

    args: DPOConfig

    def _compute_loss(self, model, inputs, return_outputs):
        if self.args.uses_trl_loss:
            return TRLDPOTrainer._compute_loss(self, model, inputs, return_outputs)
        return super()._compute_loss(model, inputs, return_outputs)
