"""DNO (arXiv 2404.03715): regress the implicit reward gap on the gap in win rates; DNO-Prct is its hard-label form."""

from dataclasses import dataclass, field

from ...catalog import get
from ...objectives.arguments import require_choice
from ...objectives.preference import check_dno, dno_loss, dno_prct_loss
from .base import PreferenceBatch, PreferenceConfig, PreferenceTrainer
from .step_size import refuse_beta


VARIANTS = ("prct", "soft")


@dataclass
class DNOConfig(PreferenceConfig):
    """Configuration of [`DNOTrainer`].

    Parameters:
        dno_variant (`str`, *optional*, defaults to `"prct"`):
            `"prct"`: DNO-Prct, DPO with `beta = eta`, what the paper runs. `"soft"`: the full DNO loss, whose labels are
            the win rates.
        eta (`float`, *optional*, defaults to `0.1`):
            Inverse temperature of the implicit reward; DPO's `beta` in DNO-Prct. Valid: above 0.
        reward_scale (`float`, *optional*, defaults to `1.0`):
            Factor on the win rates of the soft variant. Valid: above 0.
    """

    dno_variant: str = field(
        default="prct",
        metadata={
            "help": "'prct' (what the paper runs): DPO with beta = eta on pairs with a large margin. 'soft': the full "
            "DNO loss, with the columns chosen_win_rate and rejected_win_rate as labels."
        },
    )
    eta: float = field(
        default=0.1,
        metadata={
            "help": "Inverse temperature of the implicit reward, DPO's beta in DNO-Prct. Valid: above 0. The paper uses "
            "0.1 and 0.05."
        },
    )
    reward_scale: float = field(
        default=1.0,
        metadata={
            "help": "Factor on the win rates of the soft variant. Valid: above 0. To keep the optimum of the paper's "
            "rescaling, multiply eta by it as well. Not given in the paper for a run; ours."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        require_choice("dno_variant", self.dno_variant, VARIANTS)
        check_dno(self.eta, self.reward_scale)
        refuse_beta(self, "DPO's beta, under the paper's name")
        if self.dno_variant == "prct" and self.reward_scale != 1.0:
            raise ValueError(
                f"`reward_scale` is {self.reward_scale}, but `dno_variant` 'prct' has hard labels and does not read it; "
                "leave it out or set `dno_variant` to 'soft'."
            )


class DNOTrainer(PreferenceTrainer):
    """Direct Nash optimisation on the pairs of one iteration; the reference is the policy that drew them.

    The soft variant needs `chosen_win_rate` and `rejected_win_rate` in [0, 1]. `args` is a [`DNOConfig`]; the other
    arguments are those of `trl.DPOTrainer`. `alignkit loop dno` makes the pairs.
    """

    _tag_names = ["alignkit", "trl", "dno"]
    _name = "DNO"
    _paper = get("dno").paper
    method_key = "dno"

    args: DNOConfig

    @classmethod
    def extra_columns(cls, args) -> tuple[str, ...]:
        return ("chosen_win_rate", "rejected_win_rate") if args.dno_variant == "soft" else ()

    def preference_loss(self, batch: PreferenceBatch):
        if self.args.dno_variant == "prct":
            return dno_prct_loss(*batch.logps, eta=self.args.eta)
        chosen, rejected = batch.columns["chosen_win_rate"], batch.columns["rejected_win_rate"]
        return dno_loss(*batch.logps, chosen, rejected, self.args.eta, self.args.reward_scale)

    def implicit_rewards(self, batch: PreferenceBatch):
        """eta times the log-ratio."""
        return (
            self.args.eta * (batch.policy_chosen_logps - batch.ref_chosen_logps),
            self.args.eta * (batch.policy_rejected_logps - batch.ref_rejected_logps),
        )

    def preference_metrics(self, batch: PreferenceBatch):
        if self.args.dno_variant == "prct":
            return {}
        gap = batch.columns["chosen_win_rate"] - batch.columns["rejected_win_rate"]
        return {"dno/win_rate_gap": gap}
