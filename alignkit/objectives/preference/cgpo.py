"""CGPO's online DPO on constrained pairs, CODPO (arXiv 2409.20370)."""

import math

import torch

from ..arguments import Numbers, require_range, require_same_shape
from ..precision import as_full_float
from .dpo import dpo_loss


def check_cgpo_codpo(beta: float = 0.1, lam: float = 5.0) -> None:
    """Raise `ValueError` unless `beta` is above 0 and `lam` at least 0."""
    require_range("beta", beta, 0.0, math.inf, low_open=True, high_open=True)
    require_range("lam", lam, 0.0, math.inf, high_open=True)


def cgpo_codpo_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    chosen_lengths: Numbers,
    beta: float = 0.1,
    lam: float = 5.0,
) -> torch.Tensor:
    r"""CODPO loss of each pair, \( -\log\sigma(\beta\Delta) - \frac{\lambda}{|y_+|} \log\pi(y_+) \) (Eq. 14, to be minimised).

    \( \Delta \) is the gap of the log-ratios (`log_ratio_gap`); with `lam` 0 it is DPO. Average over the valid pairs of
    `cgpo_codpo_pairs` only.

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under the frozen reference; detached.
        chosen_lengths: [B], tokens of the chosen completion, at least 1.
        beta: inverse temperature of the implicit reward, above 0.
        lam: weight of the chosen completion's likelihood, at least 0.

    Returns:
        [B] losses.

    Raises:
        ValueError: for a hyper-parameter or length outside its range, or shapes that differ.
    """
    check_cgpo_codpo(beta, lam)
    loss = dpo_loss(policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta)
    lengths = as_full_float(chosen_lengths).detach()
    require_same_shape(policy_chosen_logps=loss, chosen_lengths=lengths)
    if not bool((lengths >= 1).all()):
        index = int((~(lengths >= 1)).nonzero()[0])
        raise ValueError(f"`chosen_lengths` is {lengths[index].item()!r} at index {index}; valid range: [1, inf).")
    return loss - lam * as_full_float(policy_chosen_logps) / lengths.to(loss)
