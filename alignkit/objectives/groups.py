"""Statistics of groups of completions of one prompt, with NaN for a reward that could not be given.

Rows come in consecutive runs of `num_generations`; all of these functions leave NaN entries out of every mean, standard
deviation and count.
"""

from collections.abc import Sequence

import torch

from .arguments import Numbers, as_float, require_range


def as_rewards(rewards: Numbers, *, max_dim: int = 2, name: str = "rewards") -> torch.Tensor:
    """Return detached rewards, [N], or [N, K] where `max_dim` is 2.

    Raises `ValueError` for any other number of dimensions.
    """
    values = as_float(rewards).detach()
    if values.dim() not in range(1, max_dim + 1):
        shapes = "[N]" if max_dim == 1 else "[N] or [N, K]"
        raise ValueError(f"`{name}` has shape {list(values.shape)}; expected {shapes}.")
    return values


def split_groups(values: torch.Tensor, num_generations: int, name: str = "rewards") -> torch.Tensor:
    """View [N, ...] as [N / G, G, ...], G being `num_generations`; `ValueError` unless G is at least 1 and divides N."""
    require_range("num_generations", num_generations, 1)
    if len(values) % num_generations:
        raise ValueError(
            f"`{name}` has {len(values)} rows; expected a multiple of `num_generations` ({num_generations})."
        )
    return values.reshape(-1, num_generations, *values.shape[1:])


def per_prompt_to_rows(values: torch.Tensor, num_generations: int) -> torch.Tensor:
    """Repeat a value of each prompt, [M], for its completions, [M·G]."""
    return values.repeat_interleave(num_generations, dim=0)


def as_weights(reward_weights: Numbers | None, rewards: torch.Tensor) -> torch.Tensor:
    """Return the weights of the K columns of `rewards` [N, K], all 1 by default; `ValueError` unless K finite numbers."""
    count = rewards.shape[1]
    if reward_weights is None:
        return rewards.new_ones(count)
    weights = as_float(reward_weights).detach().to(rewards)
    if weights.shape != (count,):
        raise ValueError(
            f"`reward_weights` has shape {list(weights.shape)}; expected [{count}], one weight per reward function."
        )
    if not weights.isfinite().all():
        raise ValueError(f"`reward_weights` is {weights.tolist()}; every weight must be finite.")
    return weights


def sum_rewards(rewards: Numbers, reward_weights: Numbers | None = None) -> torch.Tensor:
    r"""\( r_i = \sum_k w_k R_{ik} \) over the entries that are not NaN; NaN for a row that has none.

    Args:
        rewards: [N, K], or [N] for a single reward function; detached.
        reward_weights: K finite numbers, all 1 by default.

    Returns:
        [N] rewards.

    Raises:
        ValueError: for another shape or a wrong number of weights.
    """
    values = as_rewards(rewards)
    columns = values[:, None] if values.dim() == 1 else values
    total = (columns * as_weights(reward_weights, columns)).nansum(dim=1)
    return torch.where(columns.isnan().all(dim=1), torch.nan, total)


def nan_std(values: torch.Tensor, dim: int) -> torch.Tensor:
    """Unbiased standard deviation along `dim` (kept, length 1), NaN where fewer than two entries are valid."""
    count = (~values.isnan()).sum(dim=dim, keepdim=True)
    squares = (values - values.nanmean(dim=dim, keepdim=True)).square().nansum(dim=dim, keepdim=True)
    return torch.where(count > 1, squares / (count - 1).clamp(min=1), torch.nan).sqrt()


def group_std(groups: torch.Tensor) -> torch.Tensor:
    """Unbiased standard deviation of each group of [M, G, ...], shape [M, 1, ...]; 0 for groups of one row."""
    return torch.zeros_like(groups) if groups.shape[1] == 1 else nan_std(groups, dim=1)


def centre(groups: torch.Tensor) -> torch.Tensor:
    """Subtract the mean of each group of [M, G, ...]; a group of equal values gives exactly 0.

    The exact 0 matters: the mean of seven float32 copies of 0.7 is off by one rounding, which a division by a standard
    deviation of the same size would blow up into an advantage.
    """
    missing = groups.isnan()
    lowest = groups.masked_fill(missing, torch.inf).amin(dim=1, keepdim=True)
    highest = groups.masked_fill(missing, -torch.inf).amax(dim=1, keepdim=True)
    centred = groups - groups.nanmean(dim=1, keepdim=True)
    return torch.where((lowest == highest) & ~missing, torch.zeros_like(centred), centred)


def standardise(groups: torch.Tensor, eps: float) -> torch.Tensor:
    """Centre each group of [M, G, ...] and divide by its unbiased standard deviation plus `eps`.

    NaN entries stay NaN, and so do those of a group with a single valid entry; groups of one row give 0.
    """
    require_range("eps", eps, 0.0)
    return centre(groups) / (group_std(groups) + eps)


def zero_nan(values: torch.Tensor) -> torch.Tensor:
    """Replace NaN (no signal) by 0; infinities are kept."""
    return torch.where(values.isnan(), torch.zeros_like(values), values)


def require_rows(name: str, values: torch.Tensor, shape: Sequence[int]) -> None:
    """Raise `ValueError` naming the argument unless it has the shape of the rewards."""
    if values.shape != torch.Size(shape):
        raise ValueError(f"`{name}` has shape {list(values.shape)}; expected {list(shape)}, one entry per reward.")


def require_token_rows(name: str, values: torch.Tensor, rows: int) -> None:
    """Raise `ValueError` naming the argument unless it is [rows, T], one row per reward."""
    if values.dim() != 2 or len(values) != rows:
        raise ValueError(f"`{name}` has shape {list(values.shape)}; expected [{rows}, T], one row per reward.")
