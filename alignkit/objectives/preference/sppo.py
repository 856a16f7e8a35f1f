"""SPPO (arXiv 2405.00675): each log-ratio is regressed on the win rate of its own response."""

import math

import torch

from ..arguments import Numbers, require_range, require_same_shape
from ..precision import as_full_float
from ..probabilities import as_probabilities


def check_sppo(eta: float) -> None:
    """Raise `ValueError` unless the step size `eta` is above 0 and finite."""
    require_range("eta", eta, 0.0, math.inf, low_open=True, high_open=True)


def sppo_response_loss(
    policy_logps: Numbers, ref_logps: Numbers, win_rates: Numbers, eta: float = 1000.0
) -> torch.Tensor:
    r"""SPPO loss of each response, \( (\log\pi(y)/\pi_t(y) - \eta(\hat P(y \succ \pi_t) - \tfrac12))^2 \) (Eq. 4.7).

    For training on all K responses of a prompt. Half-precision log-probabilities are widened to float32, because the
    targets reach \( \pm\eta/2 \) nats; compute the sums over tokens in float32 too.

    Args:
        policy_logps: [N], summed completion log-probabilities in nats, with gradient.
        ref_logps: [N], the same under the policy of this iteration's start, pi_t; detached.
        win_rates: [N], probability that the response beats one drawn from pi_t, in [0, 1]; detached.
        eta: step size of the multiplicative-weights update, above 0; the inverse of the paper's beta.

    Returns:
        [N] losses.

    Raises:
        ValueError: if `eta` is not above 0, a win rate lies outside [0, 1] (NaN does) or the shapes differ.
    """
    check_sppo(eta)
    return _square("", policy_logps, ref_logps, win_rates, eta)


def sppo_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    chosen_win_rates: Numbers,
    rejected_win_rates: Numbers,
    eta: float = 1000.0,
) -> torch.Tensor:
    r"""SPPO loss of each pair, the mean of the two squares of `sppo_response_loss`.

    \( \tfrac12[(\Delta_w - \eta(\hat P_w - \tfrac12))^2 + (\Delta_l - \eta(\hat P_l - \tfrac12))^2] \) with
    \( \Delta = \log\pi(y) - \log\pi_t(y) \), as in the official code. Unlike DPO it fixes each log-ratio, not only their difference. With win
    rates 1 and 0 it is half of TRL's `sppo_hard` at `beta = 1 / eta`.

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under pi_t, the start of this iteration; detached.
        chosen_win_rates, rejected_win_rates: [B], win rates against pi_t in [0, 1] (`rewards.sppo_win_rates`);
            detached. For the pairwise variant (Eq. 4.12) pass P(y_w beats y_l) and 1 minus it.
        eta: step size of the multiplicative-weights update, above 0; the inverse of the paper's beta.

    Returns:
        [B] losses.

    Raises:
        ValueError: if `eta` is not above 0, a win rate lies outside [0, 1] (NaN does) or the shapes differ.
    """
    check_sppo(eta)
    chosen = _square("chosen_", policy_chosen_logps, ref_chosen_logps, chosen_win_rates, eta)
    rejected = _square("rejected_", policy_rejected_logps, ref_rejected_logps, rejected_win_rates, eta)
    require_same_shape(policy_chosen_logps=chosen, policy_rejected_logps=rejected)
    return (chosen + rejected) / 2


def _square(side: str, policy_logps: Numbers, ref_logps: Numbers, win_rates: Numbers, eta: float) -> torch.Tensor:
    """One square of the loss; `side` completes the names of the arguments in the messages."""
    policy, ref = as_full_float(policy_logps), as_full_float(ref_logps).detach()
    rates = as_probabilities(f"{side}win_rates", win_rates)
    require_same_shape(**{f"policy_{side}logps": policy, f"ref_{side}logps": ref, f"{side}win_rates": rates})
    return (policy - ref - eta * (rates - 0.5)) ** 2
