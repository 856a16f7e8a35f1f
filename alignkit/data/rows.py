"""Rows of a local text file, read strictly: whatever is wrong is named by file and line."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from ..errors import InputError


# One row of text; a longer one is nearly always a file without line breaks or a log that slipped in.
MAX_ROW_BYTES = 8 * 1024**2

TEXT_SUFFIXES = (".jsonl", ".json", ".csv")

# Columns that stay text in a CSV file even where every cell looks like a number ("4" as an answer).
TEXT_COLUMNS = frozenset({"prompt", "chosen", "rejected", "completion", "answer", "solution", "text"})

Row = dict[str, Any]


def is_text_file(path: str | Path) -> bool:
    """Whether `path` names a file that `read_rows` reads: .jsonl, .json or .csv, also with .gz."""
    return text_suffix(path) in TEXT_SUFFIXES


def text_suffix(path: str | Path) -> str:
    """Suffix without a final `.gz`, in lower case."""
    name = str(path).lower()
    return Path(name.removesuffix(".gz")).suffix


def read_rows(path: str | Path, max_row_bytes: int = MAX_ROW_BYTES) -> Iterator[tuple[int, Row]]:
    """Yield (place, row) of a .jsonl, .json or .csv file; the place is the 1-based line where the row begins.

    A .json file may hold a JSON array of objects or one object per line. A byte-order mark at the start is accepted,
    blank lines are skipped.

    Raises:
        InputError: naming file and line, for text that is not UTF-8 (with the byte offset), JSON that is broken or
            cut, a row that is not an object, a key given twice, a row above `max_row_bytes`, a CSV line with another
            number of cells than its header, a broken .gz, a file without rows.
    """
    found = False
    try:
        with _open(path) as file:
            for place, row in _reader(path, file)(path, file, max_row_bytes):
                found = True
                yield place, row
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a whole gzip file ({error}); compress or copy it again.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if not found:
        raise InputError(f"{path}: the file holds no rows; expected at least one.")


def line_of_row(path: str | Path, index: int) -> int | None:
    """1-based line where row `index` (from 0) of a text file begins; None if the file has fewer rows."""
    for number, (place, _) in enumerate(read_rows(path)):
        if number == index:
            return place
    return None


def _open(path: str | Path) -> IO[bytes]:
    opened = gzip.open(path, "rb") if str(path).lower().endswith(".gz") else open(path, "rb")
    return cast(IO[bytes], opened)


def _reader(path: str | Path, file: IO[bytes]):
    suffix = text_suffix(path)
    if suffix == ".csv":
        return _csv_rows
    if suffix == ".json" and _first_byte(file) == b"[":
        return _array_rows
    return _line_rows


def _first_byte(file: IO[bytes]) -> bytes:
    """First byte that is neither white space nor a byte-order mark; the file is rewound."""
    head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    return head[:1]


def _lines(path: str | Path, file: IO[bytes], max_row_bytes: int) -> Iterator[tuple[int, str]]:
    """Numbered lines as text, never holding more than one row of bytes."""
    offset, number = 0, 0
    while line := file.readline(max_row_bytes + 1):
        number += 1
        if len(line) > max_row_bytes:
            raise _too_large(path, number, max_row_bytes)
        yield number, _decode(path, line, offset, number)
        offset += len(line)


def _decode(path: str | Path, data: bytes, offset: int, line: int) -> str:
    try:
        return data.decode("utf-8-sig" if offset == 0 else "utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise InputError(
            f"{path}, line {line}: byte {offset + error.start} (0x{data[error.start]:02x}) is not UTF-8; "
            "save the file as UTF-8."
        ) from None


def _line_rows(path: str | Path, file: IO[bytes], max_row_bytes: int) -> Iterator[tuple[int, Row]]:
    decoder = _decoder()
    for number, text in _lines(path, file, max_row_bytes):
        if not text.strip():
            continue
        try:
            value = decoder.decode(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: {_json_problem(error, text)}") from None
        except _DuplicateKey as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        except RecursionError:
            raise InputError(f"{path}, line {number}: the JSON is nested too deeply to read.") from None
        yield number, _as_row(path, number, value)


def _array_rows(path: str | Path, file: IO[bytes], max_row_bytes: int) -> Iterator[tuple[int, Row]]:
    decoder = _decoder()
    text = _decode(path, file.read(), 0, 1)
    position = _skip_space(text, text.index("[") + 1)
    line, counted = 1, 0
    while text[position : position + 1] != "]":
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {error.lineno}: {_json_problem(error, text)}") from None
        except _DuplicateKey as error:
            raise InputError(f"{path}, line {line}: {error}") from None
        except RecursionError:
            raise InputError(f"{path}, line {line}: the JSON is nested too deeply to read.") from None
        if len(text[position:end].encode()) > max_row_bytes:
            raise _too_large(path, line, max_row_bytes)
        yield line, _as_row(path, line, value)
        position = _skip_space(text, end)
        if text[position : position + 1] == ",":
            position = _skip_space(text, position + 1)
        elif text[position : position + 1] != "]":
            line = 1 + text.count("\n", 0, position)
            raise InputError(f"{path}, line {line}: the JSON array is cut or lacks a comma; expected `,` or `]`.")
    rest = _skip_space(text, position + 1)
    if rest < len(text):
        line = 1 + text.count("\n", 0, rest)
        raise InputError(f"{path}, line {line}: there is text after the end of the JSON array; remove it.")


def _csv_rows(path: str | Path, file: IO[bytes], max_row_bytes: int) -> Iterator[tuple[int, Row]]:
    parsers = _csv_parsers(_csv_cells(path, file, max_row_bytes))
    file.seek(0)
    for line, cells in _csv_cells(path, file, max_row_bytes):
        yield line, {name: parsers[name](cell) for name, cell in cells.items()}


def _csv_cells(path: str | Path, file: IO[bytes], max_row_bytes: int) -> Iterator[tuple[int, dict[str, str]]]:
    """Cells of each CSV row by column name, all text."""
    csv.field_size_limit(max_row_bytes)
    texts = (text for _, text in _lines(path, file, max_row_bytes))
    reader = csv.reader(texts, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path}, line {line}: not valid CSV ({error}).") from None
        if not cells:
            continue
        if header is None:
            header = [name.strip() for name in cells]
            for name in header:
                if not name or header.count(name) > 1:
                    problem = f"names the column {name!r} twice" if name else "has a column without a name"
                    raise InputError(f"{path}, line {line}: the header {problem}; every column needs its own name.")
        elif len(cells) != len(header):
            raise InputError(
                f"{path}, line {line}: {len(cells)} cells; expected {len(header)}, one for each of {', '.join(header)}."
            )
        else:
            yield line, dict(zip(header, cells, strict=True))


def _csv_parsers(rows: Iterator[tuple[int, dict[str, str]]]) -> dict[str, Any]:
    """How to read each column: numbers or JSON (lists, objects) where every filled cell is one, else text."""
    possible: dict[str, list] = {}
    for _, cells in rows:
        for name, cell in cells.items():
            parsers = possible.setdefault(name, [_json_cell] if name in TEXT_COLUMNS else [_number_cell, _json_cell])
            if parsers and cell.strip():
                possible[name] = [parse for parse in parsers if _parses(parse, cell)]
    return {name: parsers[0] if parsers else str for name, parsers in possible.items()}


def _parses(parse, cell: str) -> bool:
    try:
        parse(cell)
    except ValueError:
        return False
    return True


def _number_cell(cell: str) -> int | float | None:
    if not cell.strip():
        return None
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def _json_cell(cell: str) -> Any:
    if not cell.strip():
        return None
    value = json.loads(cell)
    if not isinstance(value, (list, dict)):
        raise ValueError("not a list or an object")
    return value


class _DuplicateKey(ValueError):
    """A key given twice in one JSON object: the first value would be lost silently."""


def _decoder() -> json.JSONDecoder:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise _DuplicateKey(f"the key `{twice}` appears twice in one object; keep one of them.")
        return result

    return json.JSONDecoder(object_pairs_hook=unique)


def _json_problem(error: json.JSONDecodeError, text: str) -> str:
    cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    problem = "the JSON is cut short" if cut else "not valid JSON"
    return f"{problem} ({error.msg}, column {error.colno}); expected one whole object like {{...}}."


def _as_row(path: str | Path, line: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"{path}, line {line}: the row is {kind_of(value)}; expected an object like {{...}}.")
    return value


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, (list, tuple)) else "an object" if isinstance(value, dict) else "binary data"


def _too_large(path: str | Path, line: int, limit: int) -> InputError:
    return InputError(
        f"{path}, line {line}: the row is longer than {limit:,} bytes; split it, drop it, or raise `max_row_bytes`."
    )


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
