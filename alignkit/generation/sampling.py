"""Sampling whose result depends on a row's own seed and logits only, never on its place in the batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import LogitsProcessor


if TYPE_CHECKING:
    from .types import SamplingParams


class SeededSampler(LogitsProcessor):
    """Draws the next token of every row with the row's own random numbers, by inversion of the distribution.

    Row b at step t draws u ~ U[0, 1) from its own stream (seeded with `seeds[b]`) and takes the first token whose
    cumulative probability exceeds u. The scores returned are 0 at that token and -inf elsewhere, so that greedy
    decoding takes it. Temperature, then top-k, then top-p (the smallest set whose mass reaches top_p) come first.
    """

    def __init__(self, sampling: "SamplingParams", seeds: Sequence[int]) -> None:
        self.sampling = sampling
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        shape = (sampling.max_new_tokens,)
        self.uniforms = torch.stack([torch.rand(shape, generator=stream, dtype=torch.float64) for stream in streams])
        self.step = 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        probs = sampling_probs(scores, self.sampling)  # [B, V] float64
        cumulative = probs.cumsum(dim=-1)
        draws = self.uniforms[:, self.step].to(scores.device)[:, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, draws, right=True).clamp_(max=scores.shape[-1] - 1)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens, 0.0)


def sampling_probs(scores: torch.Tensor, sampling: "SamplingParams") -> torch.Tensor:
    """Next-token distribution [B, V] (float64) of `scores` [B, V] under temperature, top-k and top-p."""
    scores = scores.double() / sampling.temperature
    if 0 < sampling.top_k < scores.shape[-1]:
        threshold = scores.topk(sampling.top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < threshold, -torch.inf)
    probs = scores.softmax(dim=-1)
    if sampling.top_p < 1:
        ordered, order = probs.sort(dim=-1, descending=True, stable=True)
        mass_before = ordered.cumsum(dim=-1) - ordered
        ordered = ordered.masked_fill(mass_before >= sampling.top_p, 0.0)
        probs = torch.zeros_like(probs).scatter_(-1, order, ordered)
    return probs
