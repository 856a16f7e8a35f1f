"""Win rates from preferences: 1 = the baseline is better ... 2 = the candidate is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class WinRate:
    """`win_rate`, `standard_error` and `discrete_win_rate` in percent; the counts are of rows with a verdict."""

    win_rate: float
    standard_error: float
    discrete_win_rate: float
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_total: int


def win_rate(preferences: np.ndarray) -> WinRate:
    """Win rates of `preferences` [n]; NaN rows are left out, and 0 (a draw in old files) is 1.5.

    win_rate = 100 mean(preference - 1), standard_error = 100 std(ddof 1) / sqrt(n); the discrete rate counts a rounded
    preference as a win or a loss and exactly 1.5 as half a win. NaN where nothing has a verdict.
    """
    import numpy as np

    values = np.asarray(preferences, dtype=np.float64)
    values = np.where(values == 0, 1.5, values)
    values = values[np.isfinite(values)] - 1
    n = len(values)
    wins, losses, draws = int((values > 0.5).sum()), int((values < 0.5).sum()), int((values == 0.5).sum())
    error = values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return WinRate(
        win_rate=float(100 * values.mean()) if n else float("nan"),
        standard_error=float(100 * error),
        discrete_win_rate=100 * (wins + draws / 2) / n if n else float("nan"),
        n_wins=wins,
        n_wins_base=losses,
        n_draws=draws,
        n_total=n,
    )
