"""BNPO (arXiv 2506.02864): centred rewards divided by a Beta density fitted to the pass rates.

Not TRL's `loss_type="bnpo"`, which is an aggregation of token losses (`alignkit.objectives.policy.aggregate`).
"""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, as_float, require_range
from ..groups import as_rewards, as_weights, centre, split_groups, zero_nan


class BetaParameters(NamedTuple):
    """Shape parameters of the Beta density that normalises the rewards, each at least 1 when fitted."""

    alpha: float
    beta: float


def bnpo_beta_parameters(pass_rates: Numbers) -> BetaParameters:
    r"""Variance-optimal parameters of the normalising density, from the spread of the pass rates.

    With mean m and unbiased variance v of the pass rates, \( s = m(1-m)/v - 1 \), \( a = s m \), \( b = s (1-m) \) fit
    Beta(a, b); then \( \alpha = 1 + a/3 \), \( \beta = 1 + b/3 \), neither below 1.

    Args:
        pass_rates: mean reward of each prompt, in [0, 1]; NaN entries are dropped; detached.

    Returns:
        `BetaParameters(alpha, beta)`; (1, 1), a flat density, for fewer than two pass rates or a variance of at most
        1e-12.

    Raises:
        ValueError: for a pass rate outside [0, 1].
    """
    rates = as_float(pass_rates).detach().double().flatten()
    rates = rates[~rates.isnan()]
    for rate in rates[(rates < 0) | (rates > 1)].tolist():
        require_range("pass_rates", rate, 0.0, 1.0)
    if len(rates) < 2:
        return BetaParameters(1.0, 1.0)
    mean, variance = rates.mean().item(), rates.var().item()
    if variance <= 1e-12:
        return BetaParameters(1.0, 1.0)
    size = mean * (1 - mean) / variance - 1
    return BetaParameters(max(1.0, 1 + size * mean / 3), max(1.0, 1 + size * (1 - mean) / 3))


def check_bnpo(
    reward_min: Numbers = 0.0,
    reward_max: Numbers = 1.0,
    alpha: float | None = None,
    beta: float | None = None,
    max_weight: float = 1e6,
) -> None:
    """Raise `ValueError` for bounds that are no interval, half-given Beta parameters or a weight limit not above 0."""
    low, high = as_float(reward_min), as_float(reward_max)
    if not (low.isfinite().all() and high.isfinite().all() and (low < high).all()):
        raise ValueError(
            f"`reward_max` is {high.tolist()}; it must be finite and above `reward_min`, which is {low.tolist()}."
        )
    require_range("max_weight", max_weight, 0.0, low_open=True)
    if (alpha is None) != (beta is None):
        missing, given = ("alpha", "beta") if alpha is None else ("beta", "alpha")
        raise ValueError(f"`{missing}` is None while `{given}` is given; give both, or neither to fit them.")
    if alpha is not None and beta is not None:
        require_range("alpha", alpha, 0.0, math.inf, low_open=True, high_open=True)
        require_range("beta", beta, 0.0, math.inf, low_open=True, high_open=True)


def bnpo_advantages(
    rewards: Numbers,
    num_generations: int,
    reward_min: Numbers = 0.0,
    reward_max: Numbers = 1.0,
    alpha: float | None = None,
    beta: float | None = None,
    reward_weights: Numbers | None = None,
    max_weight: float = 1e6,
) -> torch.Tensor:
    r"""Advantage of each completion, \( A = \frac{1}{K} \sum_k w_k (R_k - p_k) / f_N(p_k; \alpha_k, \beta_k) \).

    R is the reward mapped to [0, 1], p the mean of its group and \( f_N \) the density of Beta(α, β), each reward
    function having its own p, α and β (`bnpo_beta_parameters` over all prompts of the batch). The density is evaluated in
    float64 and log space.

    Args:
        rewards: [N] or [N, K], groups being consecutive runs of `num_generations` rows; NaN where a reward function gave
            none; detached.
        num_generations: G, at least 1, a divisor of N.
        reward_min, reward_max: bounds of the rewards, a number or [K].
        alpha, beta: parameters to use for every reward function instead of fitted ones; both or neither, above 0.
        reward_weights: K finite numbers, all 1 by default.
        max_weight: limit of \( 1/f_N \), above 0.

    Returns:
        [N] advantages without gradient, in units of the mapped reward; NaN rewards contribute 0.

    Raises:
        ValueError: for a reward outside its bounds, another shape, incomplete groups or an argument outside its range.
    """
    check_bnpo(reward_min, reward_max, alpha, beta, max_weight)
    mapped = _mapped_groups(rewards, num_generations, reward_min, reward_max)
    columns = mapped.flatten(0, 1)
    weights = as_weights(reward_weights, columns)
    pass_rates = _group_means(mapped)
    total = torch.zeros_like(columns[:, 0])
    for index in range(columns.shape[1]):
        fitted = None if alpha is None or beta is None else BetaParameters(alpha, beta)
        rates = pass_rates[:, index].double()
        scale = _inverse_beta_density(rates, fitted or bnpo_beta_parameters(rates)).clamp(max=max_weight)
        advantages = centre(mapped[:, :, index]).double() * scale[:, None]
        total = total + weights[index] * zero_nan(advantages).flatten().to(total)
    return total / columns.shape[1]


def bnpo_pass_rates(
    rewards: Numbers, num_generations: int, reward_min: Numbers = 0.0, reward_max: Numbers = 1.0
) -> torch.Tensor:
    """Mean of the rewards, mapped to [0, 1], of each prompt and reward function: [M, K], NaN for a group without any.

    Args and errors as `bnpo_advantages`.
    """
    check_bnpo(reward_min, reward_max)
    return _group_means(_mapped_groups(rewards, num_generations, reward_min, reward_max))


def _mapped_groups(rewards: Numbers, num_generations: int, reward_min: Numbers, reward_max: Numbers) -> torch.Tensor:
    """Rewards mapped to [0, 1] as [M, G, K]."""
    values = as_rewards(rewards)
    columns = values[:, None] if values.dim() == 1 else values
    return split_groups(_to_unit_interval(columns, reward_min, reward_max), num_generations)


def _group_means(mapped: torch.Tensor) -> torch.Tensor:
    # The mean of values in [0, 1] may leave the interval by one rounding.
    return mapped.nanmean(dim=1).clamp(0.0, 1.0)


def _to_unit_interval(columns: torch.Tensor, reward_min: Numbers, reward_max: Numbers) -> torch.Tensor:
    """Map rewards [N, K] affinely to [0, 1]; `ValueError` for a reward outside its bounds."""
    bounds = []
    for name, bound in (("reward_min", reward_min), ("reward_max", reward_max)):
        bound = as_float(bound).detach().to(columns)
        if bound.shape not in ((), (columns.shape[1],)):
            raise ValueError(
                f"`{name}` has shape {list(bound.shape)}; expected a number or [{columns.shape[1]}], one per reward "
                "function."
            )
        bounds.append(bound)
    low, high = bounds
    outside = (columns < low) | (columns > high)
    if outside.any():
        row, column = outside.nonzero()[0].tolist()
        raise ValueError(
            f"`rewards` row {row}, column {column} (0-based) is {columns[row, column].item()}; valid range: "
            f"[{low.expand(columns.shape[1])[column].item()}, {high.expand(columns.shape[1])[column].item()}], the "
            "bounds `reward_min` and `reward_max`."
        )
    return ((columns - low) / (high - low)).clamp(0.0, 1.0)


def _inverse_beta_density(rates: torch.Tensor, parameters: BetaParameters) -> torch.Tensor:
    """1 / f_N at each pass rate; infinite where the density is 0."""
    alpha, beta = parameters
    log_constant = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)
    # xlogy, so that a flat side (exponent 0) at a pass rate of 0 gives 0 and not 0 · -inf.
    log_density = log_constant + torch.special.xlogy(alpha - 1, rates) + torch.special.xlogy(beta - 1, 1 - rates)
    return torch.exp(-log_density)
