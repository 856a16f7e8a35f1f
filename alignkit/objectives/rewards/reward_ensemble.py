"""Ensembles of reward models (arXiv 2310.02743): conservative scores, and best-of-n curves to measure them."""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, require_choice, require_range, require_same_shape
from ..precision import as_full_float


OBJECTIVES = ("mean", "wco", "uwo")


def check_reward_ensemble(objective: str, coef: float) -> None:
    """Raise `ValueError` for an unknown objective or a penalty below 0."""
    require_choice("objective", objective, OBJECTIVES)
    require_range("coef", coef, 0.0, math.inf, high_open=True)


def reward_ensemble(
    rewards: Numbers, objective: str = "mean", coef: float = 0.1, unbiased: bool = False
) -> torch.Tensor:
    r"""One score for each completion from K reward models: their mean, worst case, or mean minus their variance.

    `"mean"`: \( \frac1K\sum_k R_k \). `"wco"`: \( \min_k R_k \). `"uwo"`: \( \text{mean} - \lambda \text{Var}_k \),
    the variance and not the standard deviation, so that the right `coef` depends on the scale of the rewards.

    Args:
        rewards: [N, K], scores of the K members, on one common scale. NaN marks a member that gave no score: it is
            left out. Differentiable; half precision is widened to float32.
        objective: `"mean"`, `"wco"` (worst case) or `"uwo"` (uncertainty weighted).
        coef: lambda of `"uwo"`, at least 0, per unit of reward.
        unbiased: divide the squared deviations by K - 1 instead of K. The paper and its best-of-n code divide by K,
            its PPO code by K - 1. With one member the variance is 0 either way.

    Returns:
        [N] scores; NaN for a row without any member.

    Raises:
        ValueError: for an unknown objective, `coef` below 0, or rewards that are not [N, K] with K at least 1.
    """
    check_reward_ensemble(objective, coef)
    rewards = as_full_float(rewards)
    if rewards.dim() != 2 or rewards.shape[1] == 0:
        raise ValueError(
            f"`rewards` has shape {list(rewards.shape)}; expected [N, K]: the scores of K >= 1 reward models."
        )
    scored = ~rewards.isnan()
    count = scored.sum(-1)
    if objective == "wco":
        return rewards.masked_fill(~scored, math.inf).amin(-1).masked_fill(count == 0, torch.nan)
    # A zero in place of NaN: the gradient of a masked NaN would be NaN too.
    filled = rewards.masked_fill(~scored, 0.0)
    # 0 / 0 = NaN marks the row that no member scored.
    mean = filled.sum(-1) / count
    if objective == "mean":
        return mean
    squares = ((filled - mean[:, None]) ** 2).masked_fill(~scored, 0.0).sum(-1)
    variance = squares / (count - 1 if unbiased else count).clamp(min=1)
    return mean - coef * variance


class BestOfN(NamedTuple):
    """Expected proxy and gold score of the best of n samples by proxy, [P] each (see `best_of_n`)."""

    proxy: torch.Tensor
    gold: torch.Tensor


def best_of_n(proxy_scores: Numbers, gold_scores: Numbers, n: int) -> BestOfN:
    r"""Unbiased estimate of the scores of best-of-n from the N scored samples of each prompt.

    \( E = \sum_{i=n}^{N} \binom{i-1}{n-1} / \binom{N}{n} \cdot s_{(i)} \), the samples sorted by proxy score,
    ascending and stable; the gold scores are sorted together with the proxy scores.

    Args:
        proxy_scores, gold_scores: [P, N], scores of N samples for each of P prompts.
        n: number of samples among which the proxy picks the best, from 1 to N.

    Returns:
        `BestOfN(proxy [P], gold [P])`, float64, without gradient.

    Raises:
        ValueError: if `n` lies outside [1, N], the shapes differ or are not [P, N], or a score is NaN.
    """
    proxy = as_full_float(proxy_scores).detach().to(torch.float64)
    gold = as_full_float(gold_scores).detach().to(torch.float64)
    if proxy.dim() != 2:
        raise ValueError(f"`proxy_scores` has shape {list(proxy.shape)}; expected [P, N]: N samples of each prompt.")
    require_same_shape(proxy_scores=proxy, gold_scores=gold)
    for name, scores in (("proxy_scores", proxy), ("gold_scores", gold)):
        if bool(scores.isnan().any()):
            row = int(scores.isnan().any(-1).nonzero()[0])
            raise ValueError(f"`{name}` is NaN in row {row}; leave out prompts with a sample that was not scored.")
    require_range("n", n, 1, proxy.shape[1])
    proxy, order = proxy.sort(dim=-1, stable=True)
    weights = _best_of_n_weights(proxy.shape[1], n).to(proxy.device)
    return BestOfN(proxy=proxy @ weights, gold=gold.gather(-1, order) @ weights)


def _best_of_n_weights(size: int, n: int) -> torch.Tensor:
    r"""\( \binom{i-1}{n-1} / \binom{N}{n} \) for i = 1..N, [N] in float64.

    From the top down: the last weight is n/N, and the one before rank i is its own times (i - n)/(i - 1), so that
    nothing overflows where the binomials do.
    """
    ranks = torch.arange(size, 1, -1, dtype=torch.float64)
    factors = torch.cat([torch.tensor([n / size], dtype=torch.float64), ((ranks - n) / (ranks - 1)).clamp(min=0)])
    return factors.cumprod(0).flip(0)


def best_of_n_kl(n: int) -> float:
    r"""KL divergence of best-of-n from the sampling policy in nats, \( \log n - (n-1)/n \); `ValueError` for n < 1."""
    require_range("n", n, 1, math.inf, high_open=True)
    return math.log(n) - (n - 1) / n
