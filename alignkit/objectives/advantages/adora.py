"""ADORA (arXiv 2602.10019): group advantages re-weighted per prompt by what its rollouts show now."""

import math

import torch

from ..arguments import Numbers, as_float, require_choice, require_range
from ..groups import as_rewards, per_prompt_to_rows, require_rows, split_groups
from .grpo import grpo_advantages


DEFAULT_WEIGHTS = {"attenuate": 0.1, "amplify": 2.0}


def check_adora(
    mode: str = "attenuate",
    weight: float | None = None,
    tau: float = 0.5,
    success_threshold: float = 0.5,
    max_length: float | None = None,
) -> None:
    """Raise `ValueError` for an unknown mode, a weight that does not do what its mode says, or a value out of range."""
    require_choice("mode", mode, tuple(DEFAULT_WEIGHTS))
    if weight is not None and mode == "attenuate":
        require_range("weight", weight, 0.0, 1.0)
    elif weight is not None:
        require_range("weight", weight, 1.0, math.inf, high_open=True)
    require_range("tau", tau, 0.0, 1.0)
    require_range("success_threshold", success_threshold, -math.inf, math.inf, low_open=True, high_open=True)
    if max_length is not None:
        require_range("max_length", max_length, 0.0, low_open=True)


def adora_weights(
    rewards: Numbers,
    num_generations: int,
    lengths: Numbers,
    mode: str = "attenuate",
    weight: float | None = None,
    tau: float = 0.5,
    success_threshold: float = 0.5,
    max_length: float | None = None,
) -> torch.Tensor:
    r"""Weight of each prompt's advantages from the lengths of its successes and failures.

    Length advantage (Eq. 5): the longest success is longer than the mean failure. Difficulty advantage (Eq. 6): the
    success rate is at most τ. `"attenuate"`: `weight` where the length advantage is decided and absent, else 1.
    `"amplify"`: `weight` where both hold, else 1. Undecided is a prompt without a success, or without a failure that
    ended by itself.

    Args:
        rewards: [N], groups being consecutive runs of `num_generations` rows; NaN rewards are neither success nor
            failure and not counted in the rate; detached.
        num_generations: G, at least 1, a divisor of N.
        lengths: [N] completion lengths in tokens.
        mode: `"attenuate"` or `"amplify"`.
        weight: in [0, 1], 0.1 by default, to attenuate; at least 1, 2.0 by default, to amplify.
        tau: success rate up to which a prompt is hard, in [0, 1]; `"amplify"` only.
        success_threshold: a reward above it is a success; finite.
        max_length: failures of at least this many tokens were cut off and are left out of the mean; above 0 or None.

    Returns:
        [M] weights without gradient.

    Raises:
        ValueError: for another shape, incomplete groups or an argument outside its range.
    """
    check_adora(mode, weight, tau, success_threshold, max_length)
    values = as_rewards(rewards, max_dim=1)
    sizes = as_float(lengths).detach().to(values)
    require_rows("lengths", sizes, values.shape)
    groups, sizes = split_groups(values, num_generations), split_groups(sizes, num_generations, "lengths")
    success = groups > success_threshold
    failure = groups <= success_threshold
    ended = failure if max_length is None else failure & (sizes < max_length)
    decided = success.any(dim=1) & ended.any(dim=1)
    longest_success = sizes.masked_fill(~success, -math.inf).amax(dim=1)
    mean_failure = torch.where(ended, sizes, 0.0).sum(dim=1) / ended.sum(dim=1).clamp(min=1)
    longer = longest_success > mean_failure
    if mode == "attenuate":
        selected = decided & ~longer
    else:
        rate = success.sum(dim=1).double() / (success | failure).sum(dim=1).clamp(min=1)
        selected = decided & longer & (rate <= tau)
    return torch.ones_like(longest_success).masked_fill(selected, DEFAULT_WEIGHTS[mode] if weight is None else weight)


def adora_advantages(
    rewards: Numbers,
    num_generations: int,
    lengths: Numbers,
    mode: str = "attenuate",
    weight: float | None = None,
    tau: float = 0.5,
    success_threshold: float = 0.5,
    max_length: float | None = None,
    eps: float = 1e-4,
) -> torch.Tensor:
    r"""GRPO advantages times the weight of their prompt, \( A'_i = w_s A_i \) (Eq. 4).

    Args: as `adora_weights` and, for `eps`, `grpo_advantages`.

    Returns:
        [N] advantages without gradient.

    Raises:
        ValueError: as `adora_weights`.
    """
    weights = adora_weights(rewards, num_generations, lengths, mode, weight, tau, success_threshold, max_length)
    return per_prompt_to_rows(weights, num_generations) * grpo_advantages(rewards, num_generations, eps=eps)
