"""DNO (arXiv 2404.03715): regress the implicit reward gap on the gap in win rates by a logistic loss."""

import math

import torch
import torch.nn.functional as F

from ..arguments import Numbers, require_range, require_same_shape
from ..precision import as_full_float
from ..probabilities import as_probabilities
from .dpo import dpo_loss, log_ratio_gap


def check_dno(eta: float, reward_scale: float = 1.0) -> None:
    """Raise `ValueError` unless `eta` and `reward_scale` are above 0 and finite."""
    require_range("eta", eta, 0.0, math.inf, low_open=True, high_open=True)
    require_range("reward_scale", reward_scale, 0.0, math.inf, low_open=True, high_open=True)


def dno_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    chosen_win_rates: Numbers,
    rejected_win_rates: Numbers,
    eta: float = 0.1,
    reward_scale: float = 1.0,
) -> torch.Tensor:
    r"""DNO loss of each pair with soft labels, \( -z\log\sigma(d) - (1 - z)\log\sigma(-d) \) (Algorithm 1, Eq. 12).

    \( z = \sigma(c(r_t(y_w) - r_t(y_l))) \) and \( d = \eta\Delta \), with Delta the gap of the log-ratios to pi_t. The
    minimum is finite, at d = c (r_w - r_l). `reward_scale` multiplies the win rates only: the paper's rescaling,
    which keeps the optimum pi_t exp(r / eta), passes `eta` times the scale as well.

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under pi_t, the start of this iteration; detached.
        chosen_win_rates, rejected_win_rates: [B], win rates against pi_t in [0, 1] (`rewards.dno_win_rates`);
            detached. Either response of the pair may have the higher one.
        eta: inverse temperature of the implicit reward, above 0.
        reward_scale: factor c on the win rates, above 0.

    Returns:
        [B] losses.

    Raises:
        ValueError: if a hyper-parameter is not above 0, a win rate lies outside [0, 1] or the shapes differ.
    """
    check_dno(eta, reward_scale)
    gap = log_ratio_gap(
        as_full_float(policy_chosen_logps),
        as_full_float(policy_rejected_logps),
        as_full_float(ref_chosen_logps),
        as_full_float(ref_rejected_logps),
    )
    chosen = as_probabilities("chosen_win_rates", chosen_win_rates)
    rejected = as_probabilities("rejected_win_rates", rejected_win_rates)
    require_same_shape(policy_chosen_logps=gap, chosen_win_rates=chosen, rejected_win_rates=rejected)
    logits, label_logits = eta * gap, reward_scale * (chosen - rejected)
    # 1 - sigmoid(x) as sigmoid(-x): a large gap in win rates must not round the second label to a coarse number.
    return -(torch.sigmoid(label_logits) * F.logsigmoid(logits) + torch.sigmoid(-label_logits) * F.logsigmoid(-logits))


def dno_prct_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    eta: float = 0.1,
) -> torch.Tensor:
    r"""DNO-Prct loss of each pair, \( -\log\sigma(\eta\Delta) \): DPO with reference pi_t (Algorithm 2, Eq. 13).

    The hard-label limit of `dno_loss`, for pairs with a large margin only (`sampling.dno_pair_mask`).

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under pi_t, the start of this iteration; detached.
        eta: inverse temperature of the implicit reward, above 0; DPO's beta.

    Returns:
        [B] losses.

    Raises:
        ValueError: if `eta` is not above 0 or the shapes differ.
    """
    check_dno(eta)
    return dpo_loss(
        as_full_float(policy_chosen_logps),
        as_full_float(policy_rejected_logps),
        as_full_float(ref_chosen_logps),
        as_full_float(ref_rejected_logps),
        beta=eta,
    )
