"""Validation of the rows of a data set: the first bad one is named by file, row and field, the others are counted."""

import difflib
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from ..errors import InputError
from .files import shorten
from .formats import COLUMNS, ColumnSpec, Kind
from .pairs import pair_problem, text_or_messages_problem
from .rows import is_text_file, kind_of, line_of_row, read_rows


logger = logging.getLogger(__name__)

# How many rows of a streamed data set are checked, and after how many bad rows the search ends.
STREAM_ROWS = 1000
MAX_PROBLEMS = 1000


@dataclass(frozen=True)
class Problem:
    """One bad row: its index from 0, the field, what is wrong with it."""

    row: int
    field: str
    message: str


@dataclass
class _Expected:
    """What the first rows fixed for all: the kind of each column, the length of each list."""

    kinds: dict[str, tuple[int, str]] = field(default_factory=dict)
    lengths: dict[str, tuple[int, int]] = field(default_factory=dict)


def validate_rows(dataset, specs: Iterable[ColumnSpec], source: str = "the data set", limit: int | None = None) -> int:
    """Check every row of `dataset` (the first `STREAM_ROWS` of a streamed one) and return how many were checked.

    Args:
        dataset: `datasets.Dataset` or `IterableDataset`.
        specs: what the columns must hold (`formats.column_specs`). Pairs are also checked as pairs.
        source: name of the data set in messages; the path of a whole local text file makes them name its lines.
        limit: check only so many rows.

    Raises:
        InputError: naming source, row, field, value and what is valid, and how many more rows are bad.
    """
    specs = tuple(specs)
    present = _columns(dataset, source)
    specs = tuple(spec for spec in specs if spec.name in present or not _may_lack(spec, present, source))
    rows, total = _rows(dataset, [spec.name for spec in specs], limit)
    problems: list[Problem] = []
    expected = _Expected()
    checked = 0
    for index, row in enumerate(rows):
        checked += 1
        problem = _row_problem(index, row, specs, expected)
        if problem is not None:
            problems.append(problem)
        if len(problems) == MAX_PROBLEMS:
            break
    if problems:
        raise InputError(_sentence(problems, source, total))
    if checked == 0:
        raise InputError(f"{source}: the data set holds no rows; expected at least one.")
    logger.debug("%s: %d rows are valid", source, checked)
    return checked


def check_numeric_column(
    dataset,
    name: str,
    *,
    source: str = "the data set",
    length: int | None = None,
    low: float | None = None,
    high: float | None = None,
) -> None:
    """Check that column `name` is there and holds finite numbers in [low, high], or lists of `length` of them.

    Raises `InputError` naming source, row, field and value. A streamed data set is checked on its first rows.
    """
    kind: Kind = "number" if length is None else "numbers"
    spec = COLUMNS.get(name, ColumnSpec(name, kind))
    spec = replace(
        spec,
        length=spec.length if length is None else length,
        low=spec.low if low is None else low,
        high=spec.high if high is None else high,
    )
    validate_rows(dataset, (spec,), source=source)


def missing_column(name: str, present: Iterable[str], source: str) -> InputError:
    """The error for a column that is not there, with the nearest one that is."""
    present = list(present)
    near = difflib.get_close_matches(name, present, n=1, cutoff=0.5)
    hint = f"did you mean to rename `{near[0]}`?" if near else f"present: {', '.join(present) or 'none'}."
    return InputError(f"{source}: the column `{name}` is missing; {hint}")


def _may_lack(spec: ColumnSpec, present: list[str], source: str) -> bool:
    if not spec.optional:
        raise missing_column(spec.name, present, source)
    return True


def _columns(dataset, source: str) -> list[str]:
    if dataset.column_names is not None:
        return list(dataset.column_names)
    first = next(iter(dataset), None)
    if first is None:
        raise InputError(f"{source}: the data set holds no rows; expected at least one.")
    return list(first)


def _rows(dataset, names: list[str], limit: int | None) -> tuple[Iterator[dict[str, Any]], int | None]:
    """The rows to check, and the number of rows of the data set if it is known."""
    from datasets import Dataset

    total = len(dataset) if isinstance(dataset, Dataset) else None
    if dataset.column_names is not None:
        dataset = dataset.select_columns(names)
    if total is None:
        return islice(iter(dataset), STREAM_ROWS if limit is None else limit), None
    from tqdm import tqdm

    rows = islice(dataset.with_format(None), limit)
    return iter(tqdm(rows, desc="Checking rows", total=limit or total, disable=total < 20_000)), total


def _row_problem(index: int, row: dict[str, Any], specs: tuple[ColumnSpec, ...], expected: _Expected):
    for spec in specs:
        message = _VALUE_CHECKS[spec.kind](row.get(spec.name), spec)
        message = message or _unlike_before(index, row.get(spec.name), spec, expected)
        if message:
            return Problem(index, spec.name, message)
    if {"chosen", "rejected"} <= {spec.name for spec in specs}:
        found = pair_problem(row)
        if found:
            return Problem(index, *found)
    return None


def _unlike_before(index: int, value: Any, spec: ColumnSpec, expected: _Expected) -> str | None:
    kind = kind_of(value)
    before, kind_before = expected.kinds.setdefault(spec.name, (index, kind))
    if kind != kind_before:
        return f"the value is {kind}, but {kind_before} in row {before}; a column must be of one kind in every row"
    if spec.kind == "numbers":
        before, length = expected.lengths.setdefault(spec.name, (index, len(value)))
        if len(value) != length:
            return f"the list holds {len(value)} numbers, but {length} in row {before}; all rows need equally many"
    return None


def _number_problem(value: Any, spec: ColumnSpec) -> str | None:
    valid = _range(spec)
    if value is None:
        return f"the value is null; expected {valid}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"the value is {kind_of(value)} ({shorten(value)}); expected {valid}"
    if not math.isfinite(value):
        return f"the value is {'NaN' if math.isnan(value) else value}; expected {valid}"
    if (spec.low is not None and value < spec.low) or (spec.high is not None and value > spec.high):
        return f"the value is {value}; expected {valid}"
    return None


def _range(spec: ColumnSpec) -> str:
    if spec.low is not None and spec.high is not None:
        return f"a number in [{spec.low:g}, {spec.high:g}]"
    if spec.low is not None:
        return f"a number of at least {spec.low:g}"
    return f"a number of at most {spec.high:g}" if spec.high is not None else "a finite number"


def _numbers_problem(value: Any, spec: ColumnSpec) -> str | None:
    if not isinstance(value, list):
        return f"the value is {kind_of(value)} ({shorten(value)}); expected a list of numbers"
    if spec.length is not None and len(value) != spec.length:
        one = f"`{spec.length_from}` after the first" if spec.length_from else "objective"
        return f"the list holds {len(value)} numbers; expected {spec.length}, one for each {one}"
    if not value:
        return "the list is empty; expected at least one number"
    for place, item in enumerate(value):
        problem = _number_problem(item, spec)
        if problem:
            return f"number {place} (counting from 0): {problem}"
    return None


def _text_problem(value: Any, spec: ColumnSpec) -> str | None:
    if not isinstance(value, str):
        return f"the value is {kind_of(value)}; expected text"
    return None if value.strip() else f"the text is {shorten(value)}; expected a text that is not empty"


_VALUE_CHECKS: dict[str, Callable[[Any, ColumnSpec], str | None]] = {
    "prompt": lambda value, spec: text_or_messages_problem(value, is_prompt=True),
    "response": lambda value, spec: text_or_messages_problem(value, is_prompt=False),
    "number": _number_problem,
    "numbers": _numbers_problem,
    "text": _text_problem,
}


def _sentence(problems: list[Problem], source: str, total: int | None) -> str:
    """The first problem in full, the others counted by field."""
    first = problems[0]
    counts = Counter(problem.field for problem in problems[1:])
    parts = [f"{count} more {'row' if count == 1 else 'rows'} in `{name}`" for name, count in counts.items()]
    more = f" (and {' and '.join(parts)}{', maybe others' if len(problems) == MAX_PROBLEMS else ''})" if parts else ""
    return f"{source}, {_place(first.row, source, total)}, field `{first.field}`: {first.message}{more}."


def _place(row: int, source: str, total: int | None) -> str:
    """The line of a row where `source` is the text file that the data set is, else its index."""
    if total is not None and os.path.isfile(source) and is_text_file(source):
        if sum(1 for _ in read_rows(source)) == total:
            return f"line {line_of_row(source, row)}"
    return f"row {row} (counting from 0)"
