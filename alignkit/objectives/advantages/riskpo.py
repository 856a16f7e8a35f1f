"""RiskPO (arXiv 2510.00911): the mixed value-at-risk of bundle scores, lower tail first."""

import torch

from ..arguments import Numbers, require_choice, require_range
from ..groups import nan_std, zero_nan
from ..sampling.riskpo import riskpo_members, riskpo_permutation


FORMS = ("paper", "official_code")
CREDITS = ("uniform", "std", "sum_mean")


def check_riskpo(
    bundle_size: int = 5,
    omega: float = 0.5,
    form: str = "paper",
    alpha: float = 0.2,
    beta: float = 0.8,
    w_mix: float = 1.5,
    credit: str = "uniform",
) -> None:
    """Raise `ValueError` for a hyper-parameter outside its range; the levels must satisfy 0 < alpha < beta < 1."""
    require_range("bundle_size", bundle_size, 1)
    require_range("omega", omega, 0.0)
    require_choice("form", form, FORMS)
    require_range("beta", beta, 0.0, 1.0, low_open=True, high_open=True)
    require_range("alpha", alpha, 0.0, beta, low_open=True, high_open=True)
    require_range("w_mix", w_mix, 0.0)
    require_choice("credit", credit, CREDITS)


def riskpo_advantages(
    rewards: Numbers,
    num_generations: int,
    q_alpha: float,
    q_beta: float,
    bundle_size: int = 5,
    omega: float = 0.5,
    permutation: Numbers | None = None,
    form: str = "paper",
    alpha: float = 0.2,
    beta: float = 0.8,
    w_mix: float = 1.5,
    natural_baseline: bool = True,
    normalize_std: bool = False,
    credit: str = "uniform",
    eps: float = 1e-6,
) -> torch.Tensor:
    r"""Advantage of each response from the score of its bundle member.

    `"paper"`: \( A = -(1+\omega)(q_\alpha - R)^+ + g(R) \) with
    \( g(R) = (R - q_\alpha)^+ - (R - q_\beta)^+ + q_\alpha - q_\beta \): 0 from \( q_\beta \) on, negative and steepest
    under \( q_\alpha \). `"official_code"`: \( A = [-w (q_\alpha - R)^+ / \alpha + g(R) / (\beta - \alpha)] / (w + 1) \),
    with `eps` added to both divisors.

    Args:
        rewards, num_generations, bundle_size, permutation: see `riskpo_bundle_scores`.
        q_alpha, q_beta: quantile estimates of the bundle scores, `q_alpha` not above `q_beta`.
        omega: extra weight of the lower tail, at least 0; `"paper"` only.
        form: `"paper"` or `"official_code"`.
        alpha, beta: levels of the quantiles, 0 < alpha < beta < 1; they act in `"official_code"` only.
        w_mix: w, at least 0; `"official_code"` only.
        natural_baseline: whether g keeps its constant \( q_\alpha - q_\beta \).
        normalize_std: divide by the unbiased standard deviation of the bundle's valid scores (1 where fewer than two are
            valid) plus `eps`: a bundle of equal scores is divided by `eps` alone.
        credit: `"uniform"`: all responses of a member share A. `"std"`: divided by the standard deviation of the rewards
            of the response's own prompt (1 if at most 1e-3) plus `eps`. `"sum_mean"`: times \( (r_i - \bar r_i) / \sum_i (r_i -
            \bar r_i) \) (1/B if the sum is within 1e-6 of 0); it may flip signs.
        eps: added to the divisors named above, at least 0.

    Returns:
        [N] advantages without gradient, in the order of `rewards`; 0 for all B responses of a member one of which has a
        NaN reward.

    Raises:
        ValueError: for quantiles out of order, shapes, rows that are no permutation, incomplete bundles or a
            hyper-parameter outside its range.
    """
    check_riskpo(bundle_size, omega, form, alpha, beta, w_mix, credit)
    require_range("eps", eps, 0.0)
    q_alpha, q_beta = float(q_alpha), float(q_beta)
    require_range("q_alpha", q_alpha, high=q_beta)
    members = riskpo_members(rewards, num_generations, bundle_size, permutation)
    scores = members.sum(dim=1)

    tail = (q_alpha - scores).relu()
    # g as one subtraction, so that it is exactly 0 from q_beta on.
    window = scores.clamp(q_alpha, q_beta) - (q_beta if natural_baseline else q_alpha)
    if form == "paper":
        advantages = window - (1 + omega) * tail
    else:
        advantages = (window / (beta - alpha + eps) - w_mix * tail / (alpha + eps)) / (w_mix + 1)
    if normalize_std:
        advantages = advantages / (_std_or_one(scores, dim=1) + eps)

    credited = advantages[:, None] * _credit(members, credit, eps)
    order = riskpo_permutation(permutation, members.shape[0] * bundle_size, num_generations, members.device)
    by_member = credited.reshape(-1, num_generations)
    return zero_nan(torch.zeros_like(by_member).scatter(1, order, by_member)).flatten()


def _credit(members: torch.Tensor, credit: str, eps: float) -> torch.Tensor:
    """Factor of each response's share of its member's advantage, broadcast to [bundles, B, G]."""
    if credit == "uniform":
        return torch.ones_like(members)
    if credit == "std":
        return (1 / (_std_or_one(members, dim=2, smallest=1e-3) + eps)).expand_as(members)
    above_mean = members - members.nanmean(dim=2, keepdim=True)
    total = above_mean.sum(dim=1, keepdim=True)
    return torch.where(total.abs() > 1e-6, above_mean / total, torch.where(total.isnan(), total, 1 / members.shape[1]))


def _std_or_one(values: torch.Tensor, dim: int, smallest: float = -1.0) -> torch.Tensor:
    """Unbiased standard deviation of the valid entries along `dim`, 1 where undefined or at most `smallest`."""
    spread = nan_std(values, dim)
    return torch.where(spread > smallest, spread, torch.ones_like(spread))
