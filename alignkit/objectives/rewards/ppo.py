"""PPO's token rewards for language models (arXiv 1909.08593): the score at the end, minus a KL penalty at each token."""

import math

import torch

from ..arguments import Numbers, as_bool, require_choice, require_range, require_same_shape
from ..policy.kl import ESTIMATORS, kl_estimate
from ..policy.ratios import masked
from ..precision import as_full_float
from ..tokens import last_valid


def check_kl_rewards(kl_coef: float = 0.05, kl_estimator: str = "k1", score_clip: float | None = None) -> None:
    """Raise `ValueError` for a coefficient below 0, an unknown estimator or a clip that is not above 0."""
    require_range("kl_coef", kl_coef, 0.0, math.inf, high_open=True)
    require_choice("kl_estimator", kl_estimator, ESTIMATORS)
    check_score_clip(score_clip)


def check_score_clip(score_clip: float | None) -> None:
    """Raise `ValueError` unless None or above 0."""
    if score_clip is not None:
        require_range("score_clip", score_clip, 0.0, low_open=True)


def clip_scores(scores: Numbers, score_clip: float | None) -> torch.Tensor:
    """Scores within ±`score_clip`, detached, in at least float32; NaN stays NaN. None clips nothing."""
    check_score_clip(score_clip)
    values = as_full_float(scores).detach()
    return values if score_clip is None else values.clamp(-score_clip, score_clip)


def kl_shaped_rewards(
    scores: Numbers,
    logps: Numbers,
    ref_logps: Numbers | None,
    mask: Numbers,
    kl_coef: float = 0.05,
    kl_estimator: str = "k1",
    score_clip: float | None = None,
) -> torch.Tensor:
    r"""Reward of each token, \( r_t = -\beta \, kl_t + R \cdot 1[t = \text{last valid token}] \).

    \( kl_t \) is `kl_estimate` of the sampling policy against the reference; with `"k1"` the row sums to
    \( R - \beta \sum_t (\log\pi_{old} - \log\pi_{ref}) \).

    Args:
        scores: [N], R; NaN (unscorable) is left at the row's last valid token, where `gae` masks the row; detached.
        logps: [N, T] token log-probabilities under the policy that sampled, in nats; detached.
        ref_logps: [N, T], the same under the frozen reference; detached; may be None if `kl_coef` is 0.
        mask: [N, T], non-zero at the tokens that count.
        kl_coef: β, at least 0.
        kl_estimator: `"k1"`, `"k2"` or `"k3"`.
        score_clip: R is clipped to ± this, above 0; None: not clipped.

    Returns:
        [N, T] rewards without gradient, 0 where masked; an empty row stays 0 and loses its score.

    Raises:
        ValueError: for other shapes, an argument outside its range, or `kl_coef` without `ref_logps`.
    """
    check_kl_rewards(kl_coef, kl_estimator, score_clip)
    score, policy, keep = clip_scores(scores, score_clip), as_full_float(logps).detach(), as_bool(mask)
    if policy.dim() != 2:
        raise ValueError(f"`logps` has shape {list(policy.shape)}; expected [N, T].")
    require_same_shape(logps=policy, mask=keep)
    if score.shape != keep.shape[:1]:
        raise ValueError(f"`scores` has shape {list(score.shape)}; expected {list(keep.shape[:1])}, one per row.")
    terminal = masked(score[:, None].expand(keep.shape), last_valid(keep))
    if ref_logps is None:
        if kl_coef != 0:
            raise ValueError(f"`ref_logps` is None while `kl_coef` is {kl_coef!r}; the KL penalty needs them.")
        return terminal
    reference = as_full_float(ref_logps).detach()
    require_same_shape(logps=policy, ref_logps=reference)
    return terminal - kl_coef * kl_estimate(masked(policy, keep), masked(reference, keep), kl_estimator)
