"""Rollout allocators: how the completions of a generation batch are shared out over its prompts."""

from typing import ClassVar

import torch

from ..part import Part


class RolloutAllocator(Part):
    """Base of the allocators. The number of completions is fixed; only their groups are chosen."""

    own: ClassVar[bool] = True

    def plan(self, num_groups: int, num_generations: int) -> torch.Tensor:
        """Group of each of the num_groups * num_generations rows, int64, not decreasing; the same on every process."""
        raise NotImplementedError


class UniformAllocator(RolloutAllocator):
    """`uniform`: `num_generations` completions for each prompt."""

    own = False

    def plan(self, num_groups: int, num_generations: int) -> torch.Tensor:
        return torch.arange(num_groups).repeat_interleave(num_generations)
