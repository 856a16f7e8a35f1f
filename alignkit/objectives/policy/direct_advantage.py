"""Direct advantage (arXiv 2412.18279): the step's log-ratio is regressed on its advantage."""

import math

import torch

from ..arguments import Numbers, require_range, require_same_shape
from ..precision import as_full_float


def check_direct_advantage(beta: float = 0.01) -> None:
    """Raise `ValueError` unless `beta` is finite and above 0."""
    require_range("beta", beta, 0.0, math.inf, low_open=True, high_open=True)


def direct_advantage_loss(logps: Numbers, ref_logps: Numbers, advantages: Numbers, beta: float = 0.01) -> torch.Tensor:
    r"""Loss of each step, \( \frac12 (\log\frac{\pi(a|s)}{\pi_{ref}(a|s)} - A / \beta)^2 \) (Eq. 12).

    At \( \pi = \pi_{ref} \) the gradient is that of a policy-gradient step, \( -(A/\beta) \nabla\log\pi \); beyond
    \( A/\beta \) the loss pulls back. The targets are large, up to ±100 nats at the default.

    Args:
        logps: [N], log-probabilities *summed* over the tokens of each step, its delimiter included, in nats, with
            gradient; half precision is widened to float32 (sum in float32 before the call).
        ref_logps: [N], the same under the frozen reference; detached.
        advantages: [N], see `direct_advantage_advantages`; detached.
        beta: KL weight, above 0.

    Returns:
        [N] losses.

    Raises:
        ValueError: if `beta` is not above 0 or the shapes differ.
    """
    check_direct_advantage(beta)
    policy, reference = as_full_float(logps), as_full_float(ref_logps).detach()
    advantage = as_full_float(advantages).detach()
    require_same_shape(logps=policy, ref_logps=reference, advantages=advantage)
    return (policy - reference - advantage / beta).square() / 2
