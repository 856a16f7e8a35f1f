"""Means over all processes with one exchange: TRL gathers every metric by itself."""

import torch


Sums = dict[str, tuple[torch.Tensor, torch.Tensor]]


def pair_means(values: dict[str, torch.Tensor]) -> Sums:
    """(sum, count) of per-pair values [B]."""
    return {name: (value.detach().float().sum(), value.new_tensor(value.numel())) for name, value in values.items()}


def token_mean(values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum, count) of per-token values [B, T] where the mask [B, T] is set."""
    mask = mask.bool()
    return torch.where(mask, values.detach().float(), 0.0).sum(), mask.sum()


def reduce_means(accelerator, sums: Sums) -> dict[str, float]:
    """The means over every process; 0 where nothing was counted."""
    stacked = torch.stack([torch.stack([part.float() for part in pair]) for pair in sums.values()])
    totals = accelerator.reduce(stacked, reduction="sum").tolist()
    return {name: total / count if count else 0.0 for name, (total, count) in zip(sums, totals, strict=True)}
