"""MODPO (arXiv 2310.03708): pairs of one objective, the rewards of the others as a margin."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from ...catalog import get
from ...objectives.preference import check_modpo, modpo_loss
from .base import PreferenceBatch, PreferenceConfig, PreferenceTrainer


@dataclass
class MODPOConfig(PreferenceConfig):
    """Configuration of [`MODPOTrainer`].

    Parameters:
        weights (`list[float]`):
            One weight per objective; the first belongs to the objective of the preference pairs and must be above 0,
            the others, at least 0, follow the order of the margin columns or of `margin_models`. Scaling all weights
            and `beta` together changes nothing; the effective DPO temperature is `beta / weights[0]`.
        margin_models (`list[str]`, *optional*):
            One frozen model per further objective (adapter folders, model folders or Hub names), typically DPO models
            of that objective; its implicit reward `beta * (log pi_i - log pi_ref)` is the margin. Without it the
            columns `chosen_margin_rewards` and `rejected_margin_rewards` are read.
        objective_names (`list[str]`, *optional*):
            Names of the objectives, for logs and the model card, in the order of `weights`.
        loss_type (`str`, *optional*, defaults to `"sigmoid"`):
            `"sigmoid"`, or `"hinge"` as in the paper's code.
    """

    own_loss_types: ClassVar[tuple[str, ...]] = ("sigmoid", "hinge")

    weights: list[float] = field(
        default_factory=lambda: [0.5, 0.5],
        metadata={
            "help": "One weight per objective, that of the preference pairs first (above 0), the others at least 0 in "
            "the order of the margins. The paper's safety runs use (w, 1 - w) with w in 0.1, 0.5, 0.9."
        },
    )
    margin_models: list[str] | None = field(
        default=None,
        metadata={
            "help": "One frozen model per further objective (adapter folder, model folder or Hub name), whose implicit "
            "reward beta * (log pi_i - log pi_ref) is the margin. Without it the columns chosen_margin_rewards and "
            "rejected_margin_rewards are read."
        },
    )
    objective_names: list[str] | None = field(
        default=None,
        metadata={"help": "Names of the objectives in the order of `weights`, for logs and the model card."},
    )

    def __post_init__(self):
        super().__post_init__()
        check_modpo(self.weights, self.loss_type[0])
        others = len(self.weights) - 1
        if self.margin_models is not None and len(self.margin_models) != others:
            raise ValueError(
                f"`margin_models` names {len(self.margin_models)} models; expected {others}, one for each of the "
                f"{len(self.weights)} weights after the first."
            )
        if self.objective_names is not None and len(self.objective_names) != len(self.weights):
            raise ValueError(
                f"`objective_names` holds {len(self.objective_names)} names; expected {len(self.weights)}, one per weight."
            )


class MODPOTrainer(PreferenceTrainer):
    """Multi-objective DPO: one policy per weight vector.

    The data set needs `chosen_margin_rewards` and `rejected_margin_rewards`, lists of K-1 numbers (the rewards of the
    objectives after the first), unless `margin_models` gives them. `args` is a [`MODPOConfig`]; the other arguments are
    those of `trl.DPOTrainer`.
    """

    _tag_names = ["alignkit", "trl", "modpo"]
    _name = "MODPO"
    _paper = get("modpo").paper
    method_key = "modpo"

    args: MODPOConfig

    @classmethod
    def extra_columns(cls, args) -> tuple[str, ...]:
        return () if args.margin_models else ("chosen_margin_rewards", "rejected_margin_rewards")

    def frozen_references(self) -> dict[str, str]:
        return {f"margin_{index}": source for index, source in enumerate(self.args.margin_models or [], start=1)}

    def margin_rewards(self, batch: PreferenceBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Rewards of the objectives after the first for the chosen and the rejected responses, two [B, K-1]."""
        if not self.args.margin_models:
            return batch.columns["chosen_margin_rewards"], batch.columns["rejected_margin_rewards"]

        def implicit(side: str, ref_logps: torch.Tensor) -> torch.Tensor:
            names = self.frozen_references()
            return torch.stack([self.beta * (batch.columns[f"{name}_{side}_logps"] - ref_logps) for name in names], 1)

        return implicit("chosen", batch.ref_chosen_logps), implicit("rejected", batch.ref_rejected_logps)

    def preference_loss(self, batch: PreferenceBatch):
        return modpo_loss(
            *batch.logps, *self.margin_rewards(batch), self.args.weights, self.args.beta, self.args.loss_type[0]
        )

    def implicit_rewards(self, batch: PreferenceBatch):
        """The two parts of z: (beta * log-ratio - sum of the weighted other rewards) / weights[0]."""
        first, *others = self.args.weights
        scale = batch.ref_chosen_logps.new_tensor(others)
        log_ratios = super().implicit_rewards(batch)
        rewards = self.margin_rewards(batch)
        chosen, rejected = ((part - reward @ scale) / first for part, reward in zip(log_ratios, rewards, strict=True))
        return chosen, rejected

    def preference_metrics(self, batch: PreferenceBatch):
        chosen, rejected = self.margin_rewards(batch)
        names = self.args.objective_names or [f"objective_{index}" for index in range(len(self.args.weights))]
        gaps = {f"modpo/margin/{name}": gap for name, gap in zip(names[1:], (chosen - rejected).T, strict=True)}
        demanded = (chosen - rejected) @ chosen.new_tensor(self.args.weights[1:])
        return {"modpo/margin": demanded, **gaps}
