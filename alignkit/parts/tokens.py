"""What a policy loss sees of a micro-batch."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch


@dataclass
class TokenBatch:
    """The n completions of one forward pass on one process, padded to T tokens.

    Attributes:
        logps: [n, T] log-probabilities of the sampled tokens under the policy in nats, with gradient.
        old_logps: [n, T], the same under the policy that generated them; None where the update is exactly on-policy.
        ref_logps: [n, T], the same under the reference; None without one.
        advantages: [n] or [n, T].
        mask: [n, T] bool, the tokens that count.
        entropies: [n, T] entropy of the next-token distributions in nats, detached.
        extras: what the advantage estimator gave beside the advantages.
        training: False in evaluation.
        epsilon_low, epsilon_high, beta: the trainer's clip range and KL coefficient.
        reduce_sum: adds a tensor up over the processes. Every process must call it equally often.
        gather: concatenates a tensor of any length over the processes.
        metrics: numbers to log, filled by the loss: {name: [n, T] or scalar}; [n, T] are averaged over the mask.
    """

    logps: torch.Tensor
    old_logps: torch.Tensor | None
    ref_logps: torch.Tensor | None
    advantages: torch.Tensor
    mask: torch.Tensor
    entropies: torch.Tensor
    extras: dict[str, torch.Tensor]
    training: bool
    epsilon_low: float
    epsilon_high: float
    beta: float
    reduce_sum: Callable[[torch.Tensor], torch.Tensor]
    gather: Callable[[torch.Tensor], torch.Tensor]
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def log_ratio(self) -> torch.Tensor:
        """[n, T] log of the ratio to the generating policy, detached; 0 where masked or exactly on-policy."""
        if self.old_logps is None:
            return torch.zeros_like(self.logps)
        return torch.where(self.mask, self.logps.detach() - self.old_logps, 0.0)
