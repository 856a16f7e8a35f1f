"""DPO (arXiv 2305.18290): the sigmoid loss on implicit rewards, the base of the family."""

import torch
import torch.nn.functional as F

from ..arguments import Numbers, require_range, require_same_shape
from ..precision import as_full_float


def log_ratio_gap(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
) -> torch.Tensor:
    r"""\( \Delta = (\log\pi(y_w) - \log\pi_{ref}(y_w)) - (\log\pi(y_l) - \log\pi_{ref}(y_l)) \), shape [B].

    The reference log-probabilities are detached, half precision is widened to float32. Raises `ValueError` when the shapes differ.
    """
    policy_chosen, policy_rejected = as_full_float(policy_chosen_logps), as_full_float(policy_rejected_logps)
    ref_chosen, ref_rejected = as_full_float(ref_chosen_logps).detach(), as_full_float(ref_rejected_logps).detach()
    require_same_shape(
        policy_chosen_logps=policy_chosen,
        policy_rejected_logps=policy_rejected,
        ref_chosen_logps=ref_chosen,
        ref_rejected_logps=ref_rejected,
    )
    return (policy_chosen - ref_chosen) - (policy_rejected - ref_rejected)


def dpo_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    beta: float = 0.1,
) -> torch.Tensor:
    r"""DPO loss of each pair, \( -\log\sigma(\beta\Delta) \) (Eq. 7).

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under the frozen reference; detached.
        beta: inverse temperature of the implicit reward, above 0.

    Returns:
        [B] losses.

    Raises:
        ValueError: if `beta` is not above 0 or the shapes differ.
    """
    require_range("beta", beta, 0.0, low_open=True)
    return -F.logsigmoid(
        beta * log_ratio_gap(policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps)
    )
