"""DCPO (arXiv 2601.12730): the temperature of the virtual target distribution."""

import math

from ..arguments import require_range


def check_dcpo(
    target_entropy: float = 0.25,
    temperature_high: float = 1.2,
    temperature_low: float = 0.8,
    max_gap: float = 0.1,
    reward_threshold: float = 0.05,
) -> None:
    """Raise `ValueError` for a hyper-parameter outside its range; 0 < temperature_low <= 1 <= temperature_high."""
    require_range("target_entropy", target_entropy, 0.0, math.inf, high_open=True)
    require_range("temperature_high", temperature_high, 1.0, math.inf, high_open=True)
    require_range("temperature_low", temperature_low, 0.0, 1.0, low_open=True)
    require_range("max_gap", max_gap, 0.0)
    require_range("reward_threshold", reward_threshold, -math.inf, math.inf, low_open=True, high_open=True)


def dcpo_temperature(
    entropy: float, target_entropy: float = 0.25, temperature_high: float = 1.2, temperature_low: float = 0.8
) -> float:
    """Temperature of the target: the high one while the entropy is at most its target, else the low one.

    Args:
        entropy: entropy measured over the last update, in nats; finite.
        target_entropy: at least 0, in nats.
        temperature_high: at least 1; raises the entropy.
        temperature_low: in (0, 1]; lowers it.

    Returns:
        The temperature.

    Raises:
        ValueError: for an argument outside its range, NaN included.
    """
    require_range("entropy", entropy, -math.inf, math.inf, low_open=True, high_open=True)
    check_dcpo(target_entropy, temperature_high, temperature_low)
    return float(temperature_high if entropy <= target_entropy else temperature_low)
