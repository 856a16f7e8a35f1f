"""The loss of Asymmetric Policy Optimization (arXiv 2506.21655): GRPO's, with a KL weight for each completion."""

import torch

from ...objectives.policy import apo_asymmetric_loss, kl_estimate
from ..tokens import TokenBatch
from .base import PolicyLoss


class APOAsymmetricLoss(PolicyLoss):
    """`apo_asymmetric`: needs the advantage part `apo_asymmetric`, which gives the KL weights.

    The KL coefficient is `beta` and the clip range `epsilon`, `epsilon_high`; the KL is plain k3.
    """

    needs_extras = ("kl_weights",)
    own_kl = True
    ignores = {
        **PolicyLoss.ignores,
        "use_bias_correction_kl": "the KL term is k3 without importance weights, as in the official code.",
    }

    def token_loss(self, batch: TokenBatch) -> torch.Tensor:
        reference = batch.logps.detach() if batch.ref_logps is None else batch.ref_logps
        if batch.ref_logps is not None:
            kl = kl_estimate(batch.logps.detach(), batch.ref_logps)
            batch.metrics["apo_asymmetric/kl"] = kl
            batch.metrics["apo_asymmetric/weighted_kl"] = batch.extras["kl_weights"][:, None] * kl
        return apo_asymmetric_loss(
            batch.logps,
            batch.old_logps,
            batch.advantages,
            batch.mask,
            reference,
            batch.extras["kl_weights"],
            batch.beta,
            batch.epsilon_low,
            batch.epsilon_high,
        )
