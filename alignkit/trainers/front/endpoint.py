"""The end of a front that MODPO's loss cannot reach: weight 0 on the objective of the pairs."""

from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from ..preference.base import PreferenceBatch, PreferenceTrainer
from ..preference.modpo import MODPOTrainer


def other_objective_loss(log_ratio_gap: torch.Tensor, margin: torch.Tensor, beta: float) -> torch.Tensor:
    r"""\( -\sigma(m) \log\sigma(\beta\Delta) - \sigma(-m) \log\sigma(-\beta\Delta) \), [B].

    Delta is the log-ratio gap of chosen and rejected, m the gap of the second objective's rewards (detached): DPO whose
    labels are those of Bradley-Terry with that reward. Its minimum lies at \( \beta\Delta = m \), that is at
    \( \pi \propto \pi_{ref} \exp(r_1 / \beta) \), MODPO's closed form at the weights (0, 1). Ours: the paper's weights
    are above 0.
    """
    return binary_cross_entropy_with_logits(beta * log_ratio_gap, margin.detach().sigmoid(), reduction="none")


class OtherObjectiveTrainer(MODPOTrainer):
    """MODPO at the weights (0, 1), for two objectives: the order of the pairs means nothing, the margins everything."""

    def preference_loss(self, batch: PreferenceBatch) -> Any:
        chosen, rejected = self.margin_rewards(batch)
        policy_chosen, policy_rejected, ref_chosen, ref_rejected = batch.logps
        gap = (policy_chosen - ref_chosen) - (policy_rejected - ref_rejected)
        return other_objective_loss(gap, (chosen - rejected)[:, 0], self.args.beta)

    def implicit_rewards(self, batch: PreferenceBatch) -> Any:
        return PreferenceTrainer.implicit_rewards(self, batch)
