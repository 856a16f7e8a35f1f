"""AlpacaEval's file formats: reference outputs, model outputs, annotations; rows are joined by instruction.

Read: `model_outputs.json` and reference outputs (`instruction, output, generator[, dataset][, index]`), the official
`annotations.json` (`instruction, output_1, output_2, generator_2, preference, ...`), rows that know their instruction by
its place in the reference (`index, output_2, preference[, judge_top_logprobs]`), and one line per model (`model, index,
preference, len_2`: three lists). Written: `model_outputs.json` and `annotations.json`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from ..items import read_rows


@dataclass(frozen=True)
class Reference:
    """The baseline's answer to one instruction; `place` is the instruction's place in the benchmark."""

    place: int
    instruction: str
    output: str
    generator: str
    dataset: str | None


@dataclass(frozen=True)
class Annotation:
    """A judged row of one model: the place of its instruction, the preference (NaN: no verdict), the answer's length."""

    place: int
    preference: float
    length: int


def read_reference(path: Path) -> list[Reference]:
    """The baseline's outputs, ordered by the instructions' places."""
    return as_references(read_rows(path), str(path))


def as_references(rows: Sequence[dict[str, Any]], path: str) -> list[Reference]:
    """The rows of a reference file; without a column `index` the places are the row numbers."""
    references = []
    for number, row in enumerate(rows):
        for name in ("instruction", "output"):
            if not isinstance(row.get(name), str):
                raise InputError(f"{path}, row {number} (from 0): {name} is {row.get(name)!r}; it must be text")
        place = row.get("index", number)
        if not isinstance(place, int):
            raise InputError(f"{path}, row {number} (from 0): index is {place!r}; it must be a whole number")
        references.append(
            Reference(place, row["instruction"], row["output"], row.get("generator", "baseline"), row.get("dataset"))
        )
    check_distinct([own.instruction for own in references], "instruction", path)
    check_distinct([own.place for own in references], "index", path)
    return sorted(references, key=lambda own: own.place)


def read_annotations(path: Path, reference: Sequence[Reference]) -> tuple[dict[str | None, list[Annotation]], bool]:
    """Judged rows by model, in the order of the file (the key is None for rows that name no model), and whether the file
    has one line per model."""
    one_line_each = False
    places = {own.instruction: own.place for own in reference}
    known = set(places.values())
    models: dict[str | None, list[Annotation]] = {}
    for number, row in enumerate(read_rows(path)):
        where = f"{path}, row {number} (from 0)"
        if isinstance(row.get("preference"), list):
            one_line_each = True
            models.setdefault(row.get("model"), []).extend(compact_row(row, where))
            continue
        output = row.get("output_2")
        length = len(output) if isinstance(output, str) else row.get("len_2")
        if not isinstance(length, int):
            raise InputError(f"{where}: it has neither output_2 (text) nor len_2 (a whole number)")
        place = places.get(row["instruction"]) if "instruction" in row else row.get("index")
        if place is None:
            raise InputError(
                f"{where}: its instruction is not in the reference outputs: {str(row.get('instruction'))[:60]!r}"
            )
        model = row.get("generator_2") or row.get("model")
        models.setdefault(model, []).append(Annotation(place, preference(row.get("preference"), where), length))
    if not models:
        raise InputError(f"{path} holds no rows")
    for model, rows in models.items():
        whose = f"{path}{f', model {model}' if model else ''}"
        for annotation in rows:
            if annotation.place not in known:
                raise InputError(f"{whose}: index {annotation.place} is not in the reference outputs")
        check_distinct([annotation.place for annotation in rows], "instruction", whose)
    return models, one_line_each


def compact_row(row: dict[str, Any], where: str) -> list[Annotation]:
    """One model's three lists."""
    places, preferences, lengths = (row.get(name) for name in ("index", "preference", "len_2"))
    if not (isinstance(places, list) and isinstance(preferences, list) and isinstance(lengths, list)) or not (
        len(places) == len(preferences) == len(lengths)
    ):
        raise InputError(f"{where}: index, preference and len_2 must be lists of the same length")
    return [
        Annotation(place, preference(value, where), length)
        for place, value, length in zip(places, preferences, lengths, strict=True)
    ]


def preference(value: Any, where: str) -> float:
    """A preference in [1, 2]; null is NaN, and 0, an old way to write a draw, 1.5."""
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or not (value == 0 or 1 <= value <= 2 or math.isnan(value)):
        raise InputError(f"{where}: preference is {value!r}; it must be between 1 (baseline) and 2 (model), or null")
    return 1.5 if value == 0 else float(value)


def check_distinct(values: Iterable[Any], name: str, path: Path | str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise InputError(f"{path}: the {name} {str(value)[:60]!r} occurs twice")
        seen.add(value)


def model_outputs(rows: Iterable[tuple[str, str, str | None]], generator: str) -> list[dict[str, Any]]:
    """Rows of the official `model_outputs.json`, from (instruction, output, dataset)."""
    return [
        {"instruction": instruction, "output": output, "generator": generator}
        | ({"dataset": dataset} if dataset else {})
        for instruction, output, dataset in rows
    ]
