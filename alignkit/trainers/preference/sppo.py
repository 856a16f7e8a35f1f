"""SPPO (arXiv 2405.00675): each log-ratio is regressed on the win rate of its own response."""

from dataclasses import dataclass, field

import torch

from ...catalog import get
from ...objectives.arguments import require_choice
from ...objectives.preference import check_sppo, sppo_loss
from .base import PreferenceBatch, PreferenceConfig, PreferenceTrainer
from .step_size import refuse_beta


@dataclass
class SPPOConfig(PreferenceConfig):
    """Configuration of [`SPPOTrainer`].

    Parameters:
        eta (`float`, *optional*, defaults to `1000.0`):
            Step size of the multiplicative-weights update; it multiplies the win rate and is the inverse of the paper's
            `beta`. Valid: above 0.
        win_rates (`str`, *optional*, defaults to `"columns"`):
            `"columns"` reads `chosen_win_rate` and `rejected_win_rate`; `"hard"` takes 1 and 0.
    """

    eta: float = field(
        default=1000.0,
        metadata={
            "help": "Step size of the multiplicative-weights update, the inverse of the paper's beta: the log-ratio of "
            "a response is drawn to eta * (win rate - 1/2) nats. Valid: above 0."
        },
    )
    win_rates: str = field(
        default="columns",
        metadata={
            "help": "Where the win rates come from: 'columns' reads chosen_win_rate and rejected_win_rate, 'hard' takes "
            "1 and 0 for data that has none (half of TRL's loss sppo_hard)."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        check_sppo(self.eta)
        require_choice("win_rates", self.win_rates, ("columns", "hard"))
        refuse_beta(self, "eta = 1 / beta")


class SPPOTrainer(PreferenceTrainer):
    """Self-play preference optimisation on the pairs of one iteration; the reference is the policy that drew them.

    The data set needs `chosen_win_rate` and `rejected_win_rate` in [0, 1], unless `win_rates` is `"hard"`. `args` is an
    [`SPPOConfig`]; the other arguments are those of `trl.DPOTrainer`. `alignkit loop sppo` makes the pairs.
    """

    _tag_names = ["alignkit", "trl", "sppo"]
    _name = "SPPO"
    _paper = get("sppo").paper
    method_key = "sppo"

    args: SPPOConfig

    @classmethod
    def extra_columns(cls, args) -> tuple[str, ...]:
        return ("chosen_win_rate", "rejected_win_rate") if args.win_rates == "columns" else ()

    def pair_win_rates(self, batch: PreferenceBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Win rates of the chosen and the rejected responses against the policy of the iteration's start, two [B]."""
        if self.args.win_rates == "columns":
            return batch.columns["chosen_win_rate"], batch.columns["rejected_win_rate"]
        return torch.ones_like(batch.ref_chosen_logps), torch.zeros_like(batch.ref_rejected_logps)

    def preference_loss(self, batch: PreferenceBatch):
        return sppo_loss(*batch.logps, *self.pair_win_rates(batch), eta=self.args.eta)

    def implicit_rewards(self, batch: PreferenceBatch):
        """Log-ratios over eta: what the loss draws to (win rate - 1/2)."""
        return (
            (batch.policy_chosen_logps - batch.ref_chosen_logps) / self.args.eta,
            (batch.policy_rejected_logps - batch.ref_rejected_logps) / self.args.eta,
        )

    def preference_metrics(self, batch: PreferenceBatch):
        chosen, rejected = self.pair_win_rates(batch)
        return {
            "sppo/chosen_win_rate": chosen,
            "sppo/rejected_win_rate": rejected,
            "sppo/chosen_log_ratio": batch.policy_chosen_logps - batch.ref_chosen_logps,
            "sppo/rejected_log_ratio": batch.policy_rejected_logps - batch.ref_rejected_logps,
        }
