"""SePPO's choice of a reference among the checkpoints."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignkit.objectives.sampling import REFERENCE_STRATEGIES, seppo_reference_index


@pytest.mark.parametrize("count", [1, 2, 7, 10])
def test_uniform_draws_give_a_uniform_index(count):
    draws = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    indices = torch.tensor([seppo_reference_index(count, draw) for draw in draws.tolist()])
    shares = torch.bincount(indices, minlength=count) / 1000
    assert len(shares) == count
    assert shares.tolist() == pytest.approx([1 / count] * count, abs=0.0011)


@given(st.floats(0, 1, exclude_max=True))
def test_with_one_checkpoint_all_strategies_are_one(draw):
    assert {seppo_reference_index(1, draw, strategy) for strategy in REFERENCE_STRATEGIES} == {0}


def test_the_largest_draw_below_one_is_the_latest_checkpoint():
    largest = math.nextafter(1.0, 0.0)
    assert seppo_reference_index(10**17, largest) <= 10**17 - 1
    assert seppo_reference_index(7, largest) == 6
