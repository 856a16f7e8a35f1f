"""RTO (arXiv 2404.18922): a finished DPO model as a reward for every token of PPO."""

import math

import torch

from ..arguments import Numbers, as_bool, require_range, require_same_shape
from ..policy.ratios import masked
from ..precision import as_full_float
from .ppo import check_score_clip, clip_scores, kl_shaped_rewards


def check_rto(
    beta1: float = 0.05,
    beta2: float = 0.01,
    beta3: float = 1.0,
    dpo_clip: float | None = 0.05,
    score_clip: float | None = 10.0,
) -> None:
    """Raise `ValueError` for a beta below 0 or a clip that is neither None nor above 0."""
    for name, value in {"beta1": beta1, "beta2": beta2, "beta3": beta3}.items():
        require_range(name, value, 0.0, math.inf, high_open=True)
    if dpo_clip is not None:
        require_range("dpo_clip", dpo_clip, 0.0, low_open=True)
    check_score_clip(score_clip)


def rto_token_rewards(
    scores: Numbers,
    logps: Numbers,
    ref_logps: Numbers,
    dpo_logps: Numbers,
    mask: Numbers,
    beta1: float = 0.05,
    beta2: float = 0.01,
    beta3: float = 1.0,
    dpo_clip: float | None = 0.05,
    score_clip: float | None = 10.0,
    dpo_ref_logps: Numbers | None = None,
) -> torch.Tensor:
    r"""Reward of each token: clipped DPO log-ratio, minus the KL penalty, plus the score at the last valid token.

    \( r_t = \mathrm{clip}(\beta_1 \log\frac{\pi_{dpo}}{\pi_{ref}}, \pm c) - \beta_2 \log\frac{\pi_{old}}{\pi_{ref}}
    + \beta_3 \mathrm{clip}(R, \pm c_R) 1[t = \text{last}] \): scaled first, then clipped. With `beta1` 0 or
    \( \pi_{dpo} = \pi_{ref} \) it is `kl_shaped_rewards` with `kl_coef` \( \beta_2 \).

    Args:
        scores: [N], R; NaN (unscorable) is left at the row's last valid token, also with `beta3` 0: give zeros where
            there is no reward model; detached.
        logps: [N, T] token log-probabilities under the policy that sampled, in nats; detached.
        ref_logps, dpo_logps: [N, T], the same under the frozen reference and the frozen DPO model; detached.
        mask: [N, T], non-zero at the tokens that count.
        beta1: weight of the DPO log-ratio, at least 0.
        beta2: KL coefficient, at least 0.
        beta3: weight of the score, at least 0.
        dpo_clip: c, above 0, in units of the reward; None: not clipped.
        score_clip: \( c_R \), above 0; None: not clipped.
        dpo_ref_logps: [N, T], the reference that the DPO model was trained against, where it is not that of the KL
            penalty; detached.

    Returns:
        [N, T] rewards without gradient, 0 where masked; an empty row stays 0.

    Raises:
        ValueError: for other shapes or an argument outside its range.
    """
    check_rto(beta1, beta2, beta3, dpo_clip, score_clip)
    shaped = kl_shaped_rewards(beta3 * clip_scores(scores, score_clip), logps, ref_logps, mask, kl_coef=beta2)
    dense = beta1 * _dpo_log_ratio(dpo_logps, ref_logps if dpo_ref_logps is None else dpo_ref_logps, mask)
    require_same_shape(logps=shaped, dpo_logps=dense)
    return shaped + (dense if dpo_clip is None else dense.clamp(-dpo_clip, dpo_clip))


def rto_implicit_reward(
    dpo_logps: Numbers, dpo_ref_logps: Numbers, mask: Numbers, beta1: float = 0.05
) -> torch.Tensor:
    r"""DPO's implicit reward of each completion, \( \beta_1 \log(\pi_{dpo}(y|x) / \pi_{ref}(y|x)) \), unclipped.

    For logging and best-of-n.

    Args:
        dpo_logps, dpo_ref_logps: [N, T] token log-probabilities in nats; detached.
        mask: [N, T], non-zero at the tokens that count.
        beta1: at least 0.

    Returns:
        [N] rewards without gradient; 0 for an empty row.

    Raises:
        ValueError: for other shapes or `beta1` below 0.
    """
    check_rto(beta1)
    return beta1 * _dpo_log_ratio(dpo_logps, dpo_ref_logps, mask).sum(dim=1)


def _dpo_log_ratio(dpo_logps: Numbers, dpo_ref_logps: Numbers, mask: Numbers) -> torch.Tensor:
    """Detached log-ratio of each token, [N, T], 0 where masked."""
    dpo, reference, keep = as_full_float(dpo_logps).detach(), as_full_float(dpo_ref_logps).detach(), as_bool(mask)
    if dpo.dim() != 2:
        raise ValueError(f"`dpo_logps` has shape {list(dpo.shape)}; expected [N, T].")
    require_same_shape(dpo_logps=dpo, dpo_ref_logps=reference, mask=keep)
    return masked(dpo - reference, keep)
