"""HAPO (arXiv 2509.16591), parts C and D: advantages and clip range of each token from its entropy.

The signal follows the text of the paper (Eq. 6, in [-1, 1]); the released code makes it non-negative by a sign error.
"""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, as_bool, as_float, require_range, require_same_shape
from .ratios import bounded_exp, clipped_surrogate, masked, token_advantages, token_inputs


LOG_RATIO_LIMIT = 20.0


class EntropySignal(NamedTuple):
    """The signal of each token [N, T] and the statistics of log H that the next generation's temperatures need."""

    signal: torch.Tensor
    center: float
    scale: float


class ClipEpsilons(NamedTuple):
    """Clip range of each token, in the shape of the signal."""

    low: torch.Tensor
    high: torch.Tensor


def check_hapo(
    quantile: float = 0.8,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
    adv_beta: float = 1.0,
    clip_alpha: float = 1.0,
) -> None:
    """Raise `ValueError` for a hyper-parameter outside its range; the widest lower epsilon must stay below 1."""
    require_range("quantile", quantile, 0.0, 1.0)
    require_range("epsilon_low", epsilon_low, 0.0, math.inf, low_open=True, high_open=True)
    require_range("epsilon_high", epsilon_high, 0.0, math.inf, low_open=True, high_open=True)
    require_range("adv_beta", adv_beta, 0.0, 1.0)
    require_range("clip_alpha", clip_alpha, 0.0, math.inf, high_open=True)
    if epsilon_low * (1 + clip_alpha) >= 1:
        raise ValueError(
            f"`epsilon_low` is {epsilon_low!r} with `clip_alpha` {clip_alpha!r}; epsilon_low·(1 + clip_alpha) must be "
            "below 1, or the lower bound of the ratio reaches 0."
        )


def floored_log(entropies: torch.Tensor, eps: float) -> torch.Tensor:
    """log H with H floored at `eps`, above 0: the entropy of a certain token is 0."""
    require_range("eps", eps, 0.0, math.inf, low_open=True, high_open=True)
    return entropies.clamp(min=eps).log()


def hapo_entropy_signal(
    entropies: Numbers,
    mask: Numbers,
    quantile: float = 0.8,
    eps: float = 1e-8,
    population: Numbers | None = None,
) -> EntropySignal:
    r"""How far each token's log-entropy lies from a quantile of the batch, scaled to [-1, 1] on each side.

    \( h = (\log H - Q_\rho) / \sigma \) (Eq. 5); \( \tilde h = h / h_{max} \) where h > 0, \( h / |h_{min}| \) where
    h < 0 (Eq. 6). With the default, the 20 % most uncertain tokens are positive.

    Args:
        entropies: [N, T] entropy of each next-token distribution in nats; detached.
        mask: [N, T], non-zero at the tokens that count.
        quantile: ρ in [0, 1]; the sorted value of index floor(ρ(n - 1) + 0.5).
        eps: floor of the entropies, above 0, in nats.
        population: [M] entropies that the statistics are of, the counted ones among them; by default the counted ones
            alone. With those of all processes, every process has the same statistics.

    Returns:
        `EntropySignal(signal, center, scale)` without gradient: the signal, 0 where masked; the quantile of log H; its
        population standard deviation about the mean. Both numbers are 0 for an empty population.

    Raises:
        ValueError: for other shapes or an argument outside its range.
    """
    require_range("quantile", quantile, 0.0, 1.0)
    values, keep = as_float(entropies).detach(), as_bool(mask)
    require_same_shape(entropies=values, mask=keep)
    log_entropies = floored_log(values, eps)
    valid = log_entropies[keep] if population is None else floored_log(as_float(population).detach(), eps)
    if not len(valid):
        return EntropySignal(torch.zeros_like(values), 0.0, 0.0)
    center = valid.sort().values[math.floor(quantile * (len(valid) - 1) + 0.5)]
    distance = masked(log_entropies - center, keep)
    # The scale cancels in the signal. A side without tokens has distance 0 and stays 0.
    one = torch.ones_like(center)
    top, bottom = valid.max() - center, center - valid.min()
    signal = distance / torch.where(distance > 0, torch.where(top > 0, top, one), torch.where(bottom > 0, bottom, one))
    scale = 0.0 if top == bottom == 0 else valid.std(correction=0).item()
    return EntropySignal(signal, center.item(), scale)


def hapo_clip_epsilons(
    signal: Numbers, epsilon_low: float = 0.2, epsilon_high: float = 0.28, clip_alpha: float = 1.0
) -> ClipEpsilons:
    r"""Clip range of each token (Eq. 12, 13): a wider low side for certain tokens, a wider high side for uncertain ones.

    \( \epsilon_L (1 - \alpha \tilde h) \) where \( \tilde h \le 0 \), \( \epsilon_R (1 + \alpha \tilde h) \) where
    \( \tilde h > 0 \); the base values elsewhere.

    Args:
        signal: \( \tilde h \) in [-1, 1], any shape; detached.
        epsilon_low, epsilon_high: base range, above 0, with epsilon_low·(1 + clip_alpha) below 1.
        clip_alpha: α, at least 0; 0 turns the adaptation off.

    Returns:
        `ClipEpsilons(low, high)` in the shape of the signal, without gradient.

    Raises:
        ValueError: for an argument outside its range.
    """
    check_hapo(epsilon_low=epsilon_low, epsilon_high=epsilon_high, clip_alpha=clip_alpha)
    values = as_float(signal).detach()
    return ClipEpsilons(
        low=epsilon_low * (1 - clip_alpha * values.clamp(max=0.0)),
        high=epsilon_high * (1 + clip_alpha * values.clamp(min=0.0)),
    )


def hapo_redistribute(
    advantages: Numbers,
    signal: Numbers,
    ratio: Numbers,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
    adv_beta: float = 1.0,
) -> torch.Tensor:
    r"""Advantages times \( 1 + \beta \tilde h \) where the condition of Eq. 10 and 11 holds, unchanged elsewhere.

    The condition: the ratio is outside the neutral zone \( [1 - \epsilon_L/2, 1 + \epsilon_R/2] \) where
    \( \tilde h > 0 \), inside it where \( \tilde h \le 0 \).

    Args:
        advantages: [N] or [N, T]; detached.
        signal: \( \tilde h \) in [-1, 1], [N, T]; detached.
        ratio: [N, T]; detached.
        epsilon_low, epsilon_high: base clip range, above 0.
        adv_beta: β in [0, 1]; above 1 it would flip signs.

    Returns:
        [N, T] advantages without gradient.

    Raises:
        ValueError: for other shapes or an argument outside its range.
    """
    check_hapo(epsilon_low=epsilon_low, epsilon_high=epsilon_high, adv_beta=adv_beta, clip_alpha=0.0)
    strength, ratios = as_float(signal).detach(), as_float(ratio).detach()
    require_same_shape(signal=strength, ratio=ratios)
    values = token_advantages(advantages, torch.ones_like(strength, dtype=torch.bool))
    inside = (ratios >= 1 - epsilon_low / 2) & (ratios <= 1 + epsilon_high / 2)
    return torch.where((strength > 0) != inside, values * (1 + adv_beta * strength), values)


def hapo_loss(
    logps: Numbers,
    old_logps: Numbers | None,
    advantages: Numbers,
    mask: Numbers,
    entropies: Numbers,
    quantile: float = 0.8,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
    adv_beta: float = 1.0,
    clip_alpha: float = 1.0,
    population: Numbers | None = None,
) -> torch.Tensor:
    r"""Loss of each token, \( -\min(r \hat A, \mathrm{clip}(r, 1 - \epsilon_L(h), 1 + \epsilon_R(h)) \hat A) \).

    \( \hat A \) is from `hapo_redistribute`, the epsilons from `hapo_clip_epsilons`; the gradient flows through r alone.
    Log-ratios are clamped to ±20. Aggregate with `"dapo"`.

    Args:
        logps: [N, T] token log-probabilities under the policy in nats, with gradient.
        old_logps: [N, T], the same under the policy that sampled; detached. None: exactly on-policy.
        advantages: [N] or [N, T], from `hapo_advantages`; detached.
        mask: [N, T], non-zero at the tokens that count.
        entropies: [N, T] entropy of each next-token distribution of the policy in nats; detached.
        quantile, population: see `hapo_entropy_signal`.
        epsilon_low, epsilon_high, adv_beta, clip_alpha: see the functions named above.

    Returns:
        [N, T] losses, exactly 0 where masked.

    Raises:
        ValueError: for other shapes or an argument outside its range.
    """
    check_hapo(quantile, epsilon_low, epsilon_high, adv_beta, clip_alpha)
    inputs = token_inputs(logps, old_logps, advantages, mask)
    signal = hapo_entropy_signal(entropies, inputs.mask, quantile, population=population).signal
    require_same_shape(logps=inputs.log_ratio, entropies=signal)
    ratio = bounded_exp(inputs.log_ratio, LOG_RATIO_LIMIT)
    epsilons = hapo_clip_epsilons(signal, epsilon_low, epsilon_high, clip_alpha)
    redistributed = hapo_redistribute(inputs.advantages, signal, ratio, epsilon_low, epsilon_high, adv_beta)
    return clipped_surrogate(ratio, redistributed, 1 - epsilons.low, 1 + epsilons.high)
