"""What the columns of a data set must hold: one table by column name, no method is named here."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import InputError


Kind = Literal["response", "prompt", "number", "numbers", "text"]


@dataclass(frozen=True)
class ColumnSpec:
    """What one column must hold.

    Attributes:
        name: column name.
        kind: `"prompt"` and `"response"` (text, or a list of messages), `"number"` (finite), `"numbers"` (a list of
            finite numbers, equally long in every row), `"text"` (not empty).
        length: exact length of a `"numbers"` list; None takes the length of the first row.
        low, high: inclusive bounds of numbers.
        optional: whether the data set may lack the column.
        length_from: a config field that holds a list, one entry per objective; the pairs' own objective needs no
            number, so `length` is one less than that list.
    """

    name: str
    kind: Kind
    length: int | None = None
    low: float | None = None
    high: float | None = None
    optional: bool = False
    length_from: str | None = None


_SPECS = (
    # A pair may leave the prompt out: TRL then takes what chosen and rejected have in common.
    ColumnSpec("prompt", "prompt", optional=True),
    ColumnSpec("chosen", "response"),
    ColumnSpec("rejected", "response"),
    ColumnSpec("reward_margin", "number"),
    ColumnSpec("chosen_margin_rewards", "numbers", length_from="weights"),
    ColumnSpec("rejected_margin_rewards", "numbers", length_from="weights"),
    ColumnSpec("chosen_win_rate", "number", low=0.0, high=1.0),
    ColumnSpec("rejected_win_rate", "number", low=0.0, high=1.0),
    ColumnSpec("last_chosen_logps", "number", high=0.0),
    ColumnSpec("last_rejected_logps", "number", high=0.0),
    ColumnSpec("answer", "text"),
    ColumnSpec("solution", "text"),
)

COLUMNS: dict[str, ColumnSpec] = {spec.name: spec for spec in _SPECS}


def column_specs(names: Iterable[str], config: Any = None) -> tuple[ColumnSpec, ...]:
    """Return the specs of the named columns, their lengths taken from `config` (the method's config) where it decides.

    A `prompt` may be absent only beside chosen and rejected. Raises `InputError` for a column that the table lacks.
    """
    names = tuple(names)
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise InputError(f"no format is known for the column `{unknown[0]}`; known: {', '.join(COLUMNS)}.")
    is_pair = {"chosen", "rejected"} <= set(names)
    specs = []
    for spec in (COLUMNS[name] for name in names):
        objectives = getattr(config, spec.length_from, None) if spec.length_from else None
        length = len(objectives) - 1 if objectives is not None else spec.length
        specs.append(replace(spec, length=length, optional=spec.optional and is_pair))
    return tuple(specs)
