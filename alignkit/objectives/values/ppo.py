"""PPO's value side (arXiv 1707.06347): GAE over masked tokens, the clipped value loss, the adaptive KL coefficient."""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, as_bool, require_range, require_same_shape
from ..policy.ratios import masked
from ..precision import as_full_float


class AdvantagesReturns(NamedTuple):
    """Advantages and returns (the critic's targets), [N, T] each, without gradient, 0 where masked."""

    advantages: torch.Tensor
    returns: torch.Tensor


def check_gae(gamma: float = 1.0, lam: float = 0.95, critic_lam: float | None = None) -> None:
    """Raise `ValueError` unless the discount and the lambdas lie in [0, 1]."""
    require_range("gamma", gamma, 0.0, 1.0)
    require_range("lam", lam, 0.0, 1.0)
    if critic_lam is not None:
        require_range("critic_lam", critic_lam, 0.0, 1.0)


def scorable_mask(rewards: Numbers, mask: Numbers) -> torch.Tensor:
    """The boolean mask [N, T] without the rows that have a NaN reward at a valid token: nobody could score them.

    The mask for whitening and for both losses, lest the value head learn 0 for such rows. Raises `ValueError` when the
    shapes differ or are not [N, T].
    """
    values, keep = as_full_float(rewards).detach(), as_bool(mask)
    if values.dim() != 2:
        raise ValueError(f"`rewards` has shape {list(values.shape)}; expected [N, T].")
    require_same_shape(rewards=values, mask=keep)
    return keep & ~(keep & values.isnan()).any(dim=1, keepdim=True)


def gae(
    rewards: Numbers,
    values: Numbers,
    mask: Numbers,
    gamma: float = 1.0,
    lam: float = 0.95,
    bootstrap_values: Numbers | None = None,
    critic_lam: float | None = None,
) -> AdvantagesReturns:
    r"""Generalised advantage estimation (arXiv 1506.02438), \( A_t = \delta_t + \gamma\lambda A_{t+1} \).

    \( \delta_t = r_t + \gamma V(s_{t+1}) - V(s_t) \), and \( G_t = A_t + V(s_t) \). t + 1 is the next *valid* token: a
    hole in the mask (tool output) does not discount, it is as if its tokens were not there.

    Args:
        rewards: [N, T], reward of each token; detached. A NaN at a valid token masks its whole row.
        values: [N, T], \( V(s_t) \) of the state *before* token t; detached.
        mask: [N, T], non-zero at the tokens that count.
        gamma: discount, in [0, 1].
        lam: lambda of the advantages, in [0, 1].
        bootstrap_values: [N], value after the last valid token; detached. None: 0, the completion had ended.
        critic_lam: lambda of the returns, in [0, 1] (VC-PPO's decoupled GAE); None: `lam`.

    Returns:
        `AdvantagesReturns(advantages [N, T], returns [N, T])`, both 0 where masked; half precision becomes float32.

    Raises:
        ValueError: for other shapes, or a discount or lambda outside [0, 1].
    """
    check_gae(gamma, lam, critic_lam)
    keep = scorable_mask(rewards, mask)
    reward, value = as_full_float(rewards).detach(), as_full_float(values).detach()
    require_same_shape(rewards=reward, values=value)
    reward, value = masked(reward, keep), masked(value, keep)
    next_value = value.new_zeros(len(value))
    if bootstrap_values is not None:
        next_value = as_full_float(bootstrap_values).detach()
        if next_value.shape != value.shape[:1]:
            raise ValueError(
                f"`bootstrap_values` has shape {list(next_value.shape)}; expected {list(value.shape[:1])}, one per row."
            )
    # Both lambdas share one walk from the right: [2, N], for the advantages and for the returns.
    decay = gamma * value.new_tensor([lam, lam if critic_lam is None else critic_lam])[:, None]
    running = value.new_zeros(2, len(value))
    steps = []
    for token in reversed(range(value.shape[1])):
        valid = keep[:, token]
        delta = reward[:, token] + gamma * next_value - value[:, token]
        running = torch.where(valid, delta + decay * running, running)
        next_value = torch.where(valid, value[:, token], next_value)
        steps.append(running)
    estimates = torch.stack(steps[::-1], dim=-1) if steps else value.expand(2, -1, -1)
    return AdvantagesReturns(masked(estimates[0], keep), masked(estimates[1] + value, keep))


def check_value_clip(clip_range: float | None = 0.2) -> None:
    """Raise `ValueError` unless the clip range of the values is above 0, or None for no clipping."""
    if clip_range is not None:
        require_range("clip_range", clip_range, 0.0, low_open=True)


def value_loss(
    values: Numbers, old_values: Numbers, returns: Numbers, mask: Numbers, clip_range: float | None = 0.2
) -> torch.Tensor:
    r"""Clipped value loss of each token, \( \frac12 \max((V - G)^2, (V_{old} + \mathrm{clip}(V - V_{old}, \pm c) - G)^2) \).

    Args:
        values: [N, T], with gradient.
        old_values: [N, T], values at the time of sampling; detached.
        returns: [N, T], targets G, in units of the reward; detached.
        mask: [N, T], non-zero at the tokens that count.
        clip_range: c, above 0, in units of the reward; None: the plain half squared error.

    Returns:
        [N, T] losses, exactly 0 where masked; no gradient where the clipped branch is the larger one.

    Raises:
        ValueError: for other shapes or a clip range that is not above 0.
    """
    check_value_clip(clip_range)
    value, keep = as_full_float(values), as_bool(mask)
    old, target = as_full_float(old_values).detach(), as_full_float(returns).detach()
    require_same_shape(values=value, old_values=old, returns=target, mask=keep)
    # Padding may hold NaN or inf: it is taken out before anything is squared.
    value, old, target = masked(value, keep), masked(old, keep), masked(target, keep)
    squares = (value - target).square()
    if clip_range is not None:
        near = old + (value - old).clamp(-clip_range, clip_range)
        squares = torch.maximum(squares, (near - target).square())
    return squares / 2


def check_adaptive_kl(target: float, horizon: float = 10000) -> None:
    """Raise `ValueError` unless target and horizon are finite and above 0."""
    require_range("target", target, 0.0, math.inf, low_open=True, high_open=True)
    require_range("horizon", horizon, 0.0, math.inf, low_open=True, high_open=True)


def adaptive_kl_coef(kl_coef: float, current_kl: float, target: float, n_steps: int, horizon: float = 10000) -> float:
    r"""Next KL coefficient, \( \beta (1 + \mathrm{clip}(KL / KL_{target} - 1, \pm 0.2) \, n / H) \) (arXiv 1909.08593).

    Args:
        kl_coef: \( \beta \), at least 0.
        current_kl: KL to the reference measured over the last batch, per sequence, in nats; may be negative (k1).
        target: \( KL_{target} \), above 0, in nats per sequence.
        n_steps: n, episodes since the last update, at least 0.
        horizon: H, above 0, in episodes; a batch as large as 5 H could bring the coefficient to 0.

    Returns:
        The coefficient, a float.

    Raises:
        ValueError: for an argument outside its range, NaN included.
    """
    check_adaptive_kl(target, horizon)
    require_range("kl_coef", kl_coef, 0.0, math.inf, high_open=True)
    require_range("current_kl", current_kl)
    require_range("n_steps", n_steps, 0, math.inf, high_open=True)
    error = min(max(current_kl / target - 1, -0.2), 0.2)
    return float(kl_coef * (1 + error * n_steps / horizon))
