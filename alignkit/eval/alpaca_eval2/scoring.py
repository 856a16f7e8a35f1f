"""All figures of one model from its judged rows: what `alignkit eval score` and the pipeline's report both show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from alignkit.errors import InputError

from ..stats import bootstrap_mean
from .figures import WinRate, win_rate
from .length_control import FEW_INSTRUCTIONS, LengthControlled, SideData, is_extreme, length_controlled


if TYPE_CHECKING:
    import numpy as np

    from .formats import Annotation, Reference


@dataclass(frozen=True)
class Scores:
    """`controlled` is None where it cannot be fitted; `row_number` is the figure of the package's row-number rule where
    rows are missing, so that it differs, else None."""

    win: WinRate
    win_interval: tuple[float, float]
    controlled: LengthControlled | None
    row_number: float | None
    avg_length: int
    notes: list[str]

    @property
    def by_row_number(self) -> float | None:
        """The figure of the package's row-number rule, which is `controlled` itself where no row is missing."""
        if self.row_number is None and self.controlled is not None:
            return self.controlled.value
        return self.row_number

    def to_dict(self) -> dict[str, Any]:
        """The official names first, then what is ours."""
        controlled = self.controlled
        return {
            "win_rate": self.win.win_rate,
            "standard_error": self.win.standard_error,
            "length_controlled_winrate": controlled.value if controlled else None,
            "lc_standard_error": controlled.standard_error if controlled else None,
            "discrete_win_rate": self.win.discrete_win_rate,
            "avg_length": self.avg_length,
            "n_total": self.win.n_total,
            "n_wins": self.win.n_wins,
            "n_wins_base": self.win.n_wins_base,
            "n_draws": self.win.n_draws,
            "win_rate_interval": list(self.win_interval),
            "length_controlled_winrate_interval": [controlled.ci_low, controlled.ci_high] if controlled else None,
            "length_controlled_winrate_row_number_compat": self.by_row_number,
            "length_control": asdict(controlled) if controlled else None,
            "notes": self.notes,
        }


def score_rows(
    rows: Sequence[Annotation],
    reference: Sequence[Reference],
    side: SideData,
    num_resamples: int,
    confidence: float = 0.95,
    row_number_compat: bool = False,
) -> Scores:
    """Score one model.

    The rows are put into the benchmark's order first, so that the order of a file changes nothing. `row_number_compat`
    takes the difficulty by row number, as the package does: for comparison with figures of models with missing rows.
    """
    import numpy as np

    references = {own.place: own for own in reference}
    rows = sorted(rows, key=lambda row: row.place)
    instructions = [references[row.place].instruction for row in rows]
    preferences = np.array([row.preference for row in rows])
    win = win_rate(preferences)
    judged = np.isfinite(preferences)
    low = high = float("nan")
    if win.n_total:
        interval = bootstrap_mean(preferences[judged] - 1, max(num_resamples, 100), confidence)
        low, high = 100 * interval.ci_low, 100 * interval.ci_high
    lengths = np.array([row.length for row in rows])
    len_baseline = np.array([len(references[row.place].output) for row in rows])
    data = preferences, len_baseline, lengths
    by_instruction = difficulty_of(instructions, side)
    controlled, row_number = None, None
    notes = list(side.notes)
    try:
        own = by_instruction
        complete = [row.place for row in rows] == [own.place for own in reference][: len(rows)]
        if not complete and side.difficulty is not None:
            numbered = difficulty_of([own.instruction for own in reference][: len(rows)], side)
            row_number = length_controlled(*data, numbered, side.gamed).value
            own = numbered if row_number_compat else own
        controlled = length_controlled(*data, own, side.gamed, num_resamples=num_resamples, confidence=confidence)
    except InputError as error:
        notes.append(f"There is no length-controlled win rate: {error}.")
    notes += fit_notes(win, controlled, row_number, row_number_compat)
    return Scores(win, (low, high), controlled, row_number, int(lengths.mean()), notes)


def difficulty_of(instructions: Sequence[str], side: SideData) -> np.ndarray | None:
    import numpy as np

    if side.difficulty is None:
        return None
    return np.array([side.difficulty[instruction] for instruction in instructions])


def fit_notes(
    win: WinRate, controlled: LengthControlled | None, row_number: float | None, row_number_compat: bool
) -> list[str]:
    """What to know before the length-controlled figure is quoted."""
    if controlled is None:
        return []
    notes = []
    if win.n_total < FEW_INSTRUCTIONS:
        notes.append(
            f"Length control was fitted on {win.n_total} instructions; on fewer than {FEW_INSTRUCTIONS} it is unreliable."
        )
    if row_number is not None and not row_number_compat:
        notes.append(
            "Rows are missing. The difficulty is taken by instruction; the package takes it by row number, which gives "
            f"{row_number:.2f} here: official figures of models with missing rows carry that shift."
        )
    if row_number is not None and row_number_compat:
        notes.append("The difficulty was taken by row number, as the package does: for comparison only.")
    if is_extreme(win.win_rate, controlled.value):
        notes.append(
            f"Length control moved the win rate from {win.win_rate:.1f} to {controlled.value:.1f}: the fit may have "
            "failed."
        )
    return notes
