"""INPO (arXiv 2407.00617): a step of online mirror descent with two frozen models, learned from labelled pairs."""

import math

import torch

from ..arguments import Numbers, require_range, require_same_shape
from ..precision import as_full_float


def check_inpo(eta: float, tau: float | None = None) -> float:
    """Return the KL weight, `eta / 3` if `tau` is None; raise `ValueError` unless eta > 0 and 0 <= tau <= eta."""
    require_range("eta", eta, 0.0, math.inf, low_open=True, high_open=True)
    tau = eta / 3 if tau is None else tau
    require_range("tau", tau, 0.0, eta)
    return tau


def inpo_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    last_chosen_logps: Numbers,
    last_rejected_logps: Numbers,
    eta: float = 0.005,
    tau: float | None = None,
) -> torch.Tensor:
    r"""INPO loss of each pair, \( (h_t(\pi, y_w, y_l) - \frac{1}{2\eta})^2 \).

    \( h_t = \log\frac{\pi(y_w)}{\pi(y_l)} - \frac{\tau}{\eta}\log\frac{\pi_{ref}(y_w)}{\pi_{ref}(y_l)}
    - (1 - \frac{\tau}{\eta})\log\frac{\pi_t(y_w)}{\pi_t(y_l)} \). The log-probabilities are sums over tokens, never
    averages: the target \( 1/(2\eta) \) is 100 nats at the default. Half precision is widened to float32.

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under pi_ref, fixed over all iterations; detached.
        last_chosen_logps, last_rejected_logps: [B], the same under pi_t, the start of this iteration; detached.
        eta: inverse step size of mirror descent, above 0.
        tau: weight of the KL to pi_ref, from 0 (no KL) to `eta` (IPO against pi_ref); None means `eta / 3`.

    Returns:
        [B] losses.

    Raises:
        ValueError: if `eta` or `tau` lies outside its range or the shapes differ.
    """
    share = check_inpo(eta, tau) / eta
    policy_chosen, policy_rejected = as_full_float(policy_chosen_logps), as_full_float(policy_rejected_logps)
    ref_chosen, ref_rejected = as_full_float(ref_chosen_logps).detach(), as_full_float(ref_rejected_logps).detach()
    last_chosen, last_rejected = as_full_float(last_chosen_logps).detach(), as_full_float(last_rejected_logps).detach()
    require_same_shape(
        policy_chosen_logps=policy_chosen,
        policy_rejected_logps=policy_rejected,
        ref_chosen_logps=ref_chosen,
        ref_rejected_logps=ref_rejected,
        last_chosen_logps=last_chosen,
        last_rejected_logps=last_rejected,
    )
    anchor = share * (ref_chosen - ref_rejected) + (1 - share) * (last_chosen - last_rejected)
    return (policy_chosen - policy_rejected - anchor - 1 / (2 * eta)) ** 2
