"""Attention in two padded calls is attention in one call per segment: outputs and gradients, with and without a window."""

import pytest
import torch

from alignkit.trainers.shared_prefix.batched import attend_in_batches
from alignkit.trainers.shared_prefix.grouped import Plan, _attend


SPANS = {
    "ragged-groups": [(7, [3, 1, 6]), (0, [4, 2]), (12, [5])],
    "no-further-segment": [(4, [3]), (9, [1])],
    "one-long-group": [(3, [2, 9, 1, 1, 4])],
    "prompts-far-longer-than-segments": [(1, [2, 8]), (30, [2, 2])],
}


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS)
def test_outputs_and_gradients_equal_those_of_one_call_per_segment(spans, window):
    length = sum(prompt + sum(segments) for prompt, segments in spans)
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(1, 2, length, 8, generator=generator, requires_grad=True) for _ in range(3)]
    weight = torch.randn(1, 2, length, 8, generator=generator)
    found = []
    for attend in (_attend, attend_in_batches):
        plan = Plan(torch.zeros(1), spans=spans)
        for _ in range(2):  # the second layer takes what the first has kept
            output = attend(plan, *states, 0.3, window)
        found.append((output, torch.autograd.grad((output * weight).sum(), states)))
    (expected, gradients), (output, own) = found
    assert torch.allclose(output, expected, atol=1e-6)
    for gradient, reference in zip(own, gradients, strict=True):
        assert torch.isfinite(gradient).all()
        assert torch.allclose(gradient, reference, atol=1e-5)
