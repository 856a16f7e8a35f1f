"""Local files as `datasets.Dataset`: text files through the strict row reader, parquet through `datasets`."""

import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InputError
from .rows import MAX_ROW_BYTES, is_text_file, kind_of, read_rows, text_suffix


logger = logging.getLogger(__name__)

FILE_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")

_BATCH = 1000


def is_data_file(path: str | Path) -> bool:
    """Whether the name of `path` says that it is a file we read."""
    return is_text_file(path) or Path(path).suffix.lower() == ".parquet"


def load_file(path: str | Path, streaming: bool = False, max_row_bytes: int = MAX_ROW_BYTES):
    """Return one local file as a `Dataset` (memory-mapped from the `datasets` cache), or as an `IterableDataset`.

    The whole of a text file is checked before anything is built; a streamed one is checked as it is read. The cache is
    keyed by path, size and time of change, so an edited file is read again.

    Raises:
        InputError: naming file and line (see `rows.read_rows`), also where a column changes its type between rows.
    """
    if not is_data_file(path):
        raise InputError(
            f"{path}: unknown kind of file {text_suffix(path) or Path(path).name!r}; expected "
            f"{', '.join(FILE_SUFFIXES)} (the text ones also with .gz)."
        )
    if Path(path).suffix.lower() == ".parquet":
        return _load_parquet(path, streaming)
    from datasets import Dataset, Features, IterableDataset

    if streaming:
        return IterableDataset.from_generator(_stream, gen_kwargs={"path": str(path), "max_row_bytes": max_row_bytes})
    schema = infer_schema(path, max_row_bytes)
    state = os.stat(path)
    return Dataset.from_generator(
        _generate,
        features=Features.from_arrow_schema(schema),
        gen_kwargs={
            "path": os.path.abspath(path),
            "columns": tuple(schema.names),  # `datasets` would take a list for shards
            "max_row_bytes": max_row_bytes,
            "version": (state.st_size, state.st_mtime_ns),
        },
    )


def infer_schema(path: str | Path, max_row_bytes: int = MAX_ROW_BYTES):
    """Read the whole text file and return the Arrow schema that fits every row; `InputError` where none does."""
    import pyarrow as pa

    first: dict[str, tuple[int, str]] = {}
    schema = pa.schema([])
    rows = read_rows(path, max_row_bytes)
    while batch := list(islice(rows, _BATCH)):
        for line, row in batch:
            _check_kinds(path, line, row, first)
        try:
            schema = _widen(schema, [row for _, row in batch])
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
            raise _type_conflict(path, schema, batch) from None
    return schema


def _check_kinds(path, line: int, row: dict[str, Any], first: dict[str, tuple[int, str]]) -> None:
    """Refuse a column whose kind (text, number, list ...) differs from the first row that fills it."""
    for name, value in row.items():
        kind = kind_of(value)
        if kind == "null":
            continue
        line_before, kind_before = first.setdefault(name, (line, kind))
        if kind != kind_before:
            raise InputError(
                f"{path}, line {line}, field `{name}`: the value is {kind}, but {kind_before} in line {line_before}; "
                "a column must be of one kind in every row."
            )


def _widen(schema, rows: list[dict[str, Any]]):
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row)
    found = pa.schema([(name, pa.array([row.get(name) for row in rows]).type) for name in names])
    return pa.unify_schemas([schema, found], promote_options="permissive")


def _type_conflict(path, schema, batch: list[tuple[int, dict[str, Any]]]) -> InputError:
    """The error that names the first row and column of a batch that do not fit the rows before."""
    import pyarrow as pa

    def widen(count: int, name: str | None = None) -> bool:
        rows = [row if name is None else {name: row.get(name)} for _, row in batch[:count]]
        try:
            _widen(schema, rows)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
            return False
        return True

    good, bad = 0, len(batch)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if widen(middle) else (good, middle)
    line, row = batch[bad - 1]
    name = next(name for name in row if not widen(bad, name))
    return InputError(
        f"{path}, line {line}, field `{name}`: the value {shorten(row[name])} mixes types that cannot stand in one "
        "column; give it the same types as in the rows before."
    )


def shorten(value: Any, limit: int = 80) -> str:
    """`repr` of a value, cut in the middle to about `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit // 2]}...{text[-limit // 3 :]}"


def _generate(
    path: str, columns: tuple[str, ...], max_row_bytes: int, version: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    for _, row in read_rows(path, max_row_bytes):
        yield {name: row.get(name) for name in columns}


def _stream(path: str, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    for _, row in read_rows(path, max_row_bytes):
        yield row


def _load_parquet(path: str | Path, streaming: bool):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import load_dataset

    try:
        rows = pq.ParquetFile(path).metadata.num_rows
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a whole parquet file ({_first_line(error)}).") from None
    if rows == 0:
        raise InputError(f"{path}: the file holds no rows; expected at least one.")
    try:
        return load_dataset("parquet", data_files=str(path), split="train", streaming=streaming)
    except Exception as error:  # `datasets` wraps what Arrow raises on a broken page
        cause = error.__cause__ or error
        raise InputError(f"{path}: cannot be read as parquet ({_first_line(cause)}).") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
