"""The published data that length control needs: where they are found, checked, and named in the report.

In this order: a file that the user gives, the official file on the Hub (or in its cache; its hash is checked), a
reconstruction in the folder of `ALIGNKIT_EVAL_DATA`; without the gamed rows the variant `length_controlled_noreg`,
without the difficulty `length_controlled_minimal`. Whatever is not the official file is said in a note.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from alignkit.errors import InputError

from ..hub_files import DATA_VARIABLE, hub_dataset_file
from .length_control import GamedRows, SideData


HUB_DATASET = "tatsu-lab/alpaca_eval"
GAMED, DIFFICULTY = "df_gamed", "instruction_difficulty"
# SHA-256 of the official files at revision 2edc6fad8be6b14ea7230aabfd08188da6b8b814 of the Hub data set.
OFFICIAL = {
    GAMED: "97aeec3f1c7de6dee6fd31fe66f1702623f4614c3efe1c6fc5f4927cd5fd674d",
    DIFFICULTY: "e28d875bb334f75e17acd1e4ed659b261860e3db379cf5de29060301bed0a18b",
}
MEANING = {GAMED: "the judged rows of the gamed baseline", DIFFICULTY: "the instructions' difficulty"}


def load_side_data(
    places: Mapping[str, int], gamed_path: str | None = None, difficulty_path: str | None = None
) -> SideData:
    """Find and read both files. `places` maps an instruction to its place in the benchmark: the files know it by that."""
    notes: list[str] = []
    sources: dict[str, str] = {}
    gamed_rows = gamed = None
    place = find_file(GAMED, gamed_path, notes, sources)
    if place is not None:
        gamed_rows = read_table(place, ("index", "preference", "std_delta_len", "instruction_difficulty"))
        gamed = as_gamed(gamed_rows)
    place = find_file(DIFFICULTY, difficulty_path, notes, sources, optional=gamed_rows is not None)
    difficulty: dict[str, float] | None = None
    if place is not None:
        difficulty = by_instruction(read_difficulty(place), places, str(place))
    elif gamed_rows is not None:
        pairs = {int(row["index"]): row["instruction_difficulty"] for row in reversed(gamed_rows)}
        difficulty = by_instruction(pairs, places, sources[GAMED])
        sources[DIFFICULTY] = f"the column of that name in {sources[GAMED]}"
    if difficulty is None:
        gamed = None
    side = SideData(difficulty, gamed, notes, sources)
    if side.variant != "length_controlled_v1":
        notes.append(
            f"The length-controlled win rate is the variant {side.variant}: it does not compare with the leaderboard's."
        )
    return side


def find_file(
    name: str, given: str | None, notes: list[str], sources: dict[str, str], optional: bool = False
) -> Path | None:
    """The file `name`, where it is first found; notes and source are added to."""
    if given is not None:
        path = Path(given).expanduser()
        if not path.is_file():
            raise InputError(f"{name} file {given} does not exist")
    else:
        found = hub_dataset_file(HUB_DATASET, f"{name}.csv") or data_folder_file(
            f"{name}.csv", f"{name}_reconstructed.csv"
        )
        if found is None:
            if not optional:
                notes.append(
                    f"{name}.csv ({MEANING[name]}) was found neither on the Hub nor in the folder of {DATA_VARIABLE}."
                )
            return None
        path = found
    sources[name] = str(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != OFFICIAL[name]:
        kind = "a reconstruction" if "reconstructed" in path.name else "not the official file (its hash differs)"
        notes.append(f"{MEANING[name].capitalize()}: taken from {path.name}, {kind}.")
    return path


def data_folder_file(*names: str) -> Path | None:
    root = os.environ.get(DATA_VARIABLE)
    places = [Path(root) / folder / name for name in names for folder in ("", "alpaca_eval2")] if root else []
    return next((place for place in places if place.is_file()), None)


def as_gamed(rows: list[dict[str, float]]) -> GamedRows:
    import numpy as np

    kept = [row for row in rows if row["preference"] == row["preference"]]
    columns = {name: np.array([row[name] for row in kept]) for name in kept[0]}
    return GamedRows(np.tanh(columns["std_delta_len"]), columns["instruction_difficulty"], columns["preference"])


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, float]]:
    """The numeric `columns` of a CSV file. Raises `InputError` naming line and column."""
    rows = []
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        for name in columns:
            if name not in (reader.fieldnames or ()):
                raise InputError(f"{path} has no column {name!r}; it has {', '.join(reader.fieldnames or ())}")
        for row in reader:
            rows.append({name: number(row[name], name, path, reader.line_num) for name in columns})
    if not rows:
        raise InputError(f"{path} holds no rows")
    return rows


def read_difficulty(path: Path) -> dict[int, float]:
    """Place of an instruction -> difficulty, from a file whose first column is the place, whatever it is called."""
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        next(reader, None)
        table = {}
        for row in reader:
            if len(row) != 2:
                raise InputError(
                    f"{path}, line {reader.line_num}: {len(row)} values; expected a place and a difficulty"
                )
            place = int(number(row[0], "index", path, reader.line_num))
            table[place] = number(row[1], DIFFICULTY, path, reader.line_num)
    return table


def by_instruction(table: dict[int, float], places: Mapping[str, int], source: str) -> dict[str, float]:
    missing = [place for place in places.values() if place not in table]
    if missing:
        raise InputError(f"{source} has no difficulty for instruction {missing[0]} (from 0) of the benchmark")
    return {instruction: table[place] for instruction, place in places.items()}


def number(text: str | None, column: str, path: Path, line: int) -> float:
    try:
        return float(text if text not in (None, "") else "nan")
    except ValueError as error:
        raise InputError(f"{path}, line {line}: {column} is {text!r}, which is no number") from error
