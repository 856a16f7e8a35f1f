"""The prediction errors of policy and reference on the two images of each pair."""

from typing import Any, NamedTuple

import torch

from ...objectives.diffusion import prediction_errors
from .families import Conditions, Family
from .references import Reference


class PairErrors(NamedTuple):
    """[B] each: of the policy (with gradient) and the reference (none), on the first and the second image of a pair."""

    policy_first: torch.Tensor
    policy_second: torch.Tensor
    ref_first: torch.Tensor
    ref_second: torch.Tensor

    @property
    def changes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Error of the policy minus that of the reference on the first and the second image, without gradient."""
        return (self.policy_first - self.ref_first).detach(), (self.policy_second - self.ref_second).detach()


class Pair(NamedTuple):
    """A batch of pairs: latents [B, C, H, W] and SDXL's size numbers [B, 6] of both images, conditions [B, ...] each."""

    first: torch.Tensor
    second: torch.Tensor
    first_time_ids: torch.Tensor
    second_time_ids: torch.Tensor
    conditions: Conditions


class Noise(NamedTuple):
    """What is drawn for a batch: times [B], noise of both images [B, C, H, W], and which prompts are dropped [B]."""

    times: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    without_prompt: torch.Tensor


def draw_noise(
    pair: Pair, num_times: int, share_noise: bool, prompt_dropout: float, generator: torch.Generator
) -> Noise:
    """Draw on the CPU, so that every device sees the same numbers: t ~ U{0, ..., T-1}, epsilon ~ N(0, 1)."""
    size, device = len(pair.first), pair.first.device
    times = torch.randint(num_times, (size,), generator=generator)
    first = torch.randn(pair.first.shape, generator=generator)
    second = first if share_noise else torch.randn(pair.first.shape, generator=generator)
    without_prompt = torch.rand(size, generator=generator) < prompt_dropout
    return Noise(times, first.to(device), second.to(device), without_prompt)


def pair_errors(
    family: Family, policy: Any, reference: Reference, pair: Pair, noise: Noise, empty: Conditions
) -> PairErrors:
    """One forward pass of the policy and one of the reference, both images of every pair in one batch.

    Args:
        policy: the denoiser, perhaps wrapped for several processes.
        empty: conditions of the empty prompt, [1, ...] each.
    """
    conditions = {}
    for name, values in pair.conditions.items():
        mask = noise.without_prompt.to(values.device).view(-1, *[1] * (values.dim() - 1))
        conditions[name] = torch.where(mask, empty[name].to(values), values).repeat(2, *[1] * (values.dim() - 1))
    conditions["time_ids"] = torch.cat([pair.first_time_ids, pair.second_time_ids])
    latents = torch.cat([pair.first, pair.second])
    epsilon = torch.cat([noise.first, noise.second])
    times = noise.times.repeat(2)
    noised, target = family.noised(latents, epsilon, times), family.target(latents, epsilon, times)
    with reference.active() as module:
        ref_first, ref_second = prediction_errors(family.predict(module, noised, times, conditions), target).chunk(2)
    first, second = prediction_errors(family.predict(policy, noised, times, conditions), target).chunk(2)
    return PairErrors(first, second, ref_first, ref_second)
