"""INPO (arXiv 2407.00617): online mirror descent with two frozen models, learned from labelled pairs."""

from dataclasses import dataclass, field, replace

import torch

from ...catalog import get
from ...data.bundled import resolve_model
from ...objectives.preference import check_inpo, inpo_loss
from .base import PreferenceBatch, PreferenceConfig, PreferenceTrainer
from .step_size import refuse_beta


@dataclass
class INPOConfig(PreferenceConfig):
    """Configuration of [`INPOTrainer`].

    Parameters:
        eta (`float`, *optional*, defaults to `0.005`):
            Inverse step size of mirror descent; it divides the win rate. Valid: above 0.
        tau (`float`, *optional*):
            Weight of the KL to the fixed reference. Valid: from 0 to `eta`; defaults to `eta / 3`.
        reference_model (`str`, *optional*):
            The fixed reference. With it, the model that training starts from stands for the last policy; without it
            the columns `last_chosen_logps` and `last_rejected_logps` are read and the usual reference is the fixed one.
    """

    eta: float = field(
        default=0.005,
        metadata={
            "help": "Inverse step size of mirror descent: the gap is drawn to 1/(2 eta) nats, 100 at the default. "
            "Valid: above 0. The paper searches 0.1, 0.01, 0.0075, 0.005, 0.002."
        },
    )
    tau: float | None = field(
        default=None,
        metadata={
            "help": "Weight of the KL to the fixed reference. Valid: from 0 (no KL) to eta (IPO against the reference); "
            "left out it is eta / 3, as in the paper."
        },
    )
    reference_model: str | None = field(
        default=None,
        metadata={
            "help": "The fixed reference (adapter folder, model folder or Hub name); the model that training starts "
            "from is then the last policy. Without it the columns last_chosen_logps and last_rejected_logps are read."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        check_inpo(self.eta, self.tau)
        refuse_beta(self, "1 / (2 eta) is the target of the gap in nats")


class INPOTrainer(PreferenceTrainer):
    """Iterative Nash policy optimisation on the pairs of one iteration.

    The data set needs `last_chosen_logps` and `last_rejected_logps`, the log-probabilities in nats under the policy
    that drew the pairs, unless `reference_model` is named. `args` is an [`INPOConfig`]; the other arguments are those of
    `trl.DPOTrainer`. `alignkit loop inpo` makes pairs and columns.
    """

    _tag_names = ["alignkit", "trl", "inpo"]
    _name = "INPO"
    _paper = get("inpo").paper
    method_key = "inpo"

    args: INPOConfig

    @classmethod
    def extra_columns(cls, args) -> tuple[str, ...]:
        return () if args.reference_model else ("last_chosen_logps", "last_rejected_logps")

    def frozen_references(self) -> dict[str, str]:
        return {"fixed": resolve_model(self.args.reference_model)} if self.args.reference_model else {}

    def two_references(self, batch: PreferenceBatch) -> tuple[torch.Tensor, ...]:
        """Log-probabilities under the fixed reference and under the last policy: chosen, rejected of each, four [B]."""
        usual = batch.ref_chosen_logps, batch.ref_rejected_logps
        name = "fixed" if self.args.reference_model else "last"
        other = batch.columns[f"{name}_chosen_logps"], batch.columns[f"{name}_rejected_logps"]
        return (*other, *usual) if self.args.reference_model else (*usual, *other)

    def preference_loss(self, batch: PreferenceBatch):
        ref_chosen, ref_rejected, last_chosen, last_rejected = self.two_references(batch)
        return inpo_loss(
            batch.policy_chosen_logps,
            batch.policy_rejected_logps,
            ref_chosen,
            ref_rejected,
            last_chosen,
            last_rejected,
            eta=self.args.eta,
            tau=self.args.tau,
        )

    def implicit_rewards(self, batch: PreferenceBatch):
        """eta times the log-ratio to the geometric mixture of the two references."""
        share = check_inpo(self.args.eta, self.args.tau) / self.args.eta
        ref_chosen, ref_rejected, last_chosen, last_rejected = self.two_references(batch)
        mixed = replace(
            batch,
            ref_chosen_logps=share * ref_chosen + (1 - share) * last_chosen,
            ref_rejected_logps=share * ref_rejected + (1 - share) * last_rejected,
        )
        return (
            self.args.eta * (mixed.policy_chosen_logps - mixed.ref_chosen_logps),
            self.args.eta * (mixed.policy_rejected_logps - mixed.ref_rejected_logps),
        )

    def preference_metrics(self, batch: PreferenceBatch):
        chosen, rejected = self.implicit_rewards(batch)
        ref_chosen, ref_rejected, last_chosen, last_rejected = self.two_references(batch)
        return {
            "inpo/gap": (chosen - rejected) / self.args.eta,
            "inpo/references_differ": ((last_chosen - last_rejected) - (ref_chosen - ref_rejected)).abs(),
        }
