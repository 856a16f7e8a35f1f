"""From battles to the leaderboard: score and interval of every model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from alignkit.errors import InputError

from .battles import Battles
from .resampling import INTERVALS, resample_fits, resample_shares, win_shares
from .style import CONTROLS, ELEMENTS, Style, covariates
from .versions import V01, Version


if TYPE_CHECKING:
    import numpy as np

    from .bradley_terry import Fit

OPTIMIZERS = ("converged", "official")
# Without control a resample costs next to nothing.
SHARE_RESAMPLES, FIT_RESAMPLES, OFFICIAL_RESAMPLES = 10_000, 1000, 100


@dataclass(frozen=True)
class Scoring:
    """How battles become scores.

    Attributes:
        control: None, or one of `style.CONTROLS`: "style", "length", "markdown".
        optimizer: "converged", or "official" for the fit that the version's own code stops at (style control only).
        intervals: "cluster" resamples questions, "official" battles; None follows `optimizer`.
        num_resamples: None: 10 000 without control, 1000 with it; for official intervals the official 100 (1000 for
            v2.0's plain score, whose code draws without a seed: so the same distribution with less noise).
        confidence: coverage of the intervals; None: the version's own (95 % for v0.1, 90 % for v2.0).
        seed: of the resampling; None: 0, or the official one for official intervals.
    """

    control: str | None = None
    optimizer: str = "converged"
    intervals: str | None = None
    num_resamples: int | None = None
    confidence: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("control", self.control, (None, *CONTROLS)),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("intervals", self.intervals, (None, *INTERVALS)),
        ):
            if value not in allowed:
                raise InputError(
                    f"{name} is {value!r}: it must be one of {', '.join(map(str, filter(None, allowed)))}"
                )
        if self.num_resamples is not None and self.num_resamples < 1:
            raise InputError(f"num_resamples is {self.num_resamples}: it must be at least 1")
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise InputError(f"confidence is {self.confidence}: it must be between 0 and 1, such as 0.95")

    @property
    def interval_kind(self) -> str:
        return self.intervals or ("official" if self.optimizer == "official" else "cluster")

    def resamples(self, version: Version) -> int:
        if self.num_resamples is not None:
            return self.num_resamples
        if self.interval_kind == "official":
            return OFFICIAL_RESAMPLES if self.control or version is V01 else FIT_RESAMPLES
        return FIT_RESAMPLES if self.control else SHARE_RESAMPLES

    def draw_seed(self, version: Version) -> int:
        if self.seed is not None:
            return self.seed
        return version.seed if self.interval_kind == "official" else 0


@dataclass(frozen=True)
class Row:
    """One model's score with its interval, in percent.

    `bootstrap_center` is the middle of the bootstrap distribution: its mean (no control) or median (style control). v2.0's own
    table prints that as the score; it differs from `score`, which is computed on all battles, by resampling noise only.
    """

    score: float
    ci_low: float
    ci_high: float
    bootstrap_center: float


@dataclass(frozen=True)
class Table:
    """Rows by model, and the slopes of the style covariates (empty without control)."""

    rows: dict[str, Row]
    slopes: dict[str, float]


def score_battles(
    battles: Battles, version: Version, scoring: Scoring, styles: Mapping[tuple[str, str], Style] | None = None
) -> Table:
    """Score every model: the weighted share of wins, or with control the Bradley-Terry probability at equal style.

    Raises `InputError` naming an answer whose style is missing.
    """
    import numpy as np
    from scipy.special import expit

    slopes: dict[str, float] = {}
    seed, resamples = scoring.draw_seed(version), scoring.resamples(version)
    if scoring.control is None:
        scores = win_shares(battles, battles.weight)
        samples = resample_shares(battles, version, scoring.interval_kind, resamples, seed)
        centers = np.nanmean(samples, axis=0)
    else:
        x = covariates(battles, styles or {}, version, scoring.control)
        full, fit = fitter(battles, x, version, scoring.optimizer)
        scores = 100 * expit(full.strength)
        slopes = dict(zip([ELEMENTS[place] for place in CONTROLS[scoring.control]], full.slope.tolist(), strict=True))
        samples = resample_fits(battles, fit, scoring.interval_kind, resamples, seed)
        centers = np.nanmedian(samples, axis=0)
    tail = version.tail if scoring.confidence is None else (1 - scoring.confidence) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail], axis=0)
    rows = {
        name: Row(float(scores[m]), float(low[m]), float(high[m]), float(centers[m]))
        for m, name in enumerate(battles.models)
    }
    return Table(rows, slopes)


def fitter(
    battles: Battles, x: np.ndarray, version: Version, optimizer: str
) -> tuple[Fit, Callable[[np.ndarray], Fit]]:
    """The fit on all battles, and the function that fits resampled weights."""
    from .bradley_terry import converged, official_v01, official_v2

    if optimizer == "converged":
        full = converged(battles, x, version, battles.weight)
        return full, lambda weight: converged(battles, x, version, weight, full)
    official: Callable[[np.ndarray], Fit] = partial(official_v01 if version is V01 else official_v2, battles, x)
    return official(battles.weight), official


def battle_counts(battles: Battles, name: str) -> dict[str, int]:
    """How many battles a model has, won, tied and lost (a strong verdict counts three times), and what it lacks."""
    import numpy as np

    own = battles.model == battles.models.index(name) if name in battles.models else np.zeros(len(battles.model), bool)
    shares, weights = battles.share[own], battles.weight[own]
    return {
        "n_questions": len(np.unique(battles.question[own])),
        "n_battles": int(weights.sum()),
        "n_wins": int(weights[shares > 0.5].sum()),
        "n_ties": int(weights[shares == 0.5].sum()),
        "n_losses": int(weights[shares < 0.5].sum()),
        "null_games": battles.null_games[name],
        "dropped_games": battles.dropped[name],
    }
