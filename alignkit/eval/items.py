"""A suite's items: its rows, wherever they are, as prompt and gold."""

import gzip
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from .golds import GOLD_RULES
from .hub_files import DATA_VARIABLE, hub_dataset_file
from .protocols import Messages, apply_protocol
from .suites import Suite


@dataclass(frozen=True)
class Item:
    """One question: `item_id` names it in the suite (its place, from 0, where the benchmark has no names), `groups` its
    values of the suite's `group_by`, `extra` what a judged benchmark needs beside them (JSON values)."""

    item_id: str
    prompt: Messages
    gold: str = ""
    groups: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def turn(self) -> int:
        """Which turn of a dialogue it is, from 1."""
        return self.extra.get("turn", 1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def load_items(
    suite: Suite, protocol: str, data: str | None = None, limit: int | None = None
) -> tuple[list[Item], str]:
    """Read a suite's items, and say where they came from.

    Raises `InputError` naming place, row (from 0) and column of what is wrong.
    """
    rows, place = load_rows(suite, data)
    if not rows:
        raise InputError(f"{place} holds no rows")
    rows = rows if limit is None else rows[:limit]
    return [make_item(suite, protocol, row, index, place) for index, row in enumerate(rows)], place


def make_item(suite: Suite, protocol: str, row: dict[str, Any], index: int, place: str) -> Item:
    """One row as an item."""
    question = pick(row, suite.question, index, place)
    if suite.context and row.get(suite.context):
        question = f"{row[suite.context]}\n\n{question}"
    answer = pick(row, suite.gold, index, place)
    try:
        gold = GOLD_RULES[suite.gold_rule](answer)
    except ValueError as error:
        raise InputError(f"{place}, row {index} (from 0): no gold in {answer!r:.80}: {error}") from error
    groups = {name: str(row[name]) for name in suite.group_by if row.get(name) is not None}
    return Item(str(index), apply_protocol(protocol, question), gold, groups)


def pick(row: dict[str, Any], columns: list[str], index: int, place: str) -> Any:
    """The value of the first column that the row has."""
    for column in columns:
        if row.get(column) is not None:
            return row[column]
    raise InputError(
        f"{place}, row {index} (from 0): none of the columns {', '.join(columns)} has a value; it has "
        f"{', '.join(sorted(row))}"
    )


def load_rows(suite: Suite, data: str | None) -> tuple[list[dict[str, Any]], str]:
    """The rows and where they came from: `data`, the folder of ALIGNKIT_EVAL_DATA, the package, or the Hub."""
    if data is not None:
        return read_rows(Path(data).expanduser()), data
    name = suite.rows.get("file")
    root = os.environ.get(DATA_VARIABLE)
    if name and root:
        for path in (Path(root) / name, Path(root) / suite.rows.get("folder", suite.kind) / name):
            if path.is_file():
                return read_rows(path), str(path)
    if "bundled" in suite.rows:
        import alignkit.data

        dataset = alignkit.data.load(suite.rows["bundled"], split="train")
        return list(dataset), suite.rows["bundled"]
    return hub_rows(suite), suite.rows["hub"]


def hub_rows(suite: Suite) -> list[dict[str, Any]]:
    """The rows from the Hub (or its local cache): a data set, or one file of a data set that is a script."""
    rows = suite.rows
    if "hub_file" in rows:
        path = hub_dataset_file(rows["hub"], rows["hub_file"])
        if path is None:
            raise InputError(
                f"{rows['hub_file']} of {rows['hub']} (suite {suite.name}) can be had neither from the Hub nor from its "
                f"local cache: give it with --data, or a folder that holds {rows['file']} with {DATA_VARIABLE}"
            )
        return read_rows(path)
    import datasets

    try:
        return list(datasets.load_dataset(rows["hub"], rows.get("config"), split=rows["split"]))
    except Exception as error:  # the library raises a dozen kinds; all mean: these data cannot be had from there
        raise InputError(
            f"the data of suite {suite.name} ({rows['hub']}) cannot be loaded from the Hub ({type(error).__name__}): "
            f"give a file with --data, or a folder that holds {rows['file']} with {DATA_VARIABLE}"
        ) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a .jsonl, .jsonl.gz or .json (a list) file."""
    if not path.is_file():
        raise InputError(f"data file {path} does not exist")
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        text = raw.decode("utf-8")
        if ".jsonl" not in path.name:
            rows = json.loads(text)
        else:
            # Not splitlines(): a JSON string may hold U+2028, which that would split.
            rows = [parse_line(line, number, path) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not valid UTF-8 JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} must hold a list of JSON objects")
    return rows


def parse_line(line: str, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}, line {number}: not valid JSON: {error}") from error
