"""The temperatures of DCPO (of the virtual target) and of HAPO (of each token)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.policy import hapo_entropy_signal
from alignkit.objectives.sampling import dcpo_temperature, hapo_temperature


few = settings(max_examples=20, deadline=None, derandomize=True)


@given(entropy=st.floats(0.0, 3.0), target=st.floats(0.0, 3.0))
@few
def test_dcpo_heats_up_to_and_at_the_target_and_cools_above_it(entropy, target):
    assert dcpo_temperature(entropy, target) == (1.2 if entropy <= target else 0.8)
    assert dcpo_temperature(target, target) == 1.2


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("entropy", {"entropy": math.nan}),
        ("target_entropy", {"target_entropy": -0.1}),
        ("temperature_high", {"temperature_high": 0.9}),
        ("temperature_low", {"temperature_low": 1.1}),
        ("temperature_low", {"temperature_low": 0.0}),
    ],
)
def test_dcpo_refuses_bad_arguments_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        dcpo_temperature(**{"entropy": 0.3, **kwargs})


@given(seed=st.integers(0, 2**31 - 1), tau=st.floats(0.0, 0.5))
@few
def test_hapo_heats_exactly_the_tokens_with_a_positive_signal(seed, tau):
    entropies = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).exp()
    signal, center, scale = hapo_entropy_signal(entropies, torch.ones(4, 6))
    temperatures = hapo_temperature(entropies, center, scale, base_temperature=0.9, tau=tau)
    if tau == 0:
        assert (temperatures == 0.9).all()
    expected = 0.9 * (1 + tau * (entropies.log() - center) / scale).clamp(min=0.1)
    torch.testing.assert_close(temperatures, expected)
    assert ((temperatures > 0.9 * (1 + 1e-12)) <= (signal > 0)).all()


def test_hapo_floors_the_factor_for_certain_tokens_and_keeps_the_base_without_spread():
    assert hapo_temperature([0.0], center=0.0, scale=0.01).tolist() == pytest.approx([0.1])
    assert hapo_temperature([0.0, 3.0], center=-1.0, scale=0.0, base_temperature=0.7).tolist() == [0.7, 0.7]


@pytest.mark.parametrize(
    "match, kwargs",
    [
        ("center", {"center": math.nan}),
        ("scale", {"scale": -1.0}),
        ("base_temperature", {"base_temperature": 0.0}),
        ("tau", {"tau": -0.1}),
        ("min_factor", {"min_factor": 0.0}),
        ("eps", {"eps": 0.0}),
    ],
)
def test_hapo_refuses_bad_arguments_by_name(match, kwargs):
    with pytest.raises(ValueError, match=match):
        hapo_temperature(**{"entropies": [0.5], "center": 0.0, "scale": 1.0, **kwargs})
