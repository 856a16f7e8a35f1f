"""An append-only JSONL file of finished work, that survives kill -9."""

import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


logger = logging.getLogger(__name__)


class RecordLog:
    """Records in a JSONL file: one complete line each, written at once and synced before `append` returns.

    A line that a crash cut short is skipped when the file is read (and said in the log); the next record starts on a
    line of its own. With `path` None the records are kept in memory only.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = Path(path) if path is not None else None
        self._kept: list[dict[str, Any]] = []
        self._descriptor: int | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the complete records, oldest first."""
        if self.path is None:
            yield from self._kept
            return
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                if isinstance(record, dict):
                    yield record
                else:
                    logger.warning(
                        "%s: line %d is no complete record (cut by a crash?) and is skipped", self.path, number
                    )

    def append(self, *records: dict[str, Any]) -> None:
        """Write `records` as one block and wait until it is on the disk."""
        if self.path is None:
            self._kept.extend(records)
            return
        if self._descriptor is None:
            self._descriptor = open_for_append(self.path)
        block = "".join(json.dumps(record) + "\n" for record in records)
        view = memoryview(block.encode())
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def open_for_append(path: Path) -> int:
    """A descriptor that appends to `path`, on a new line whatever the last writer left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor


def write_atomically(path: str | os.PathLike[str], text: str | Iterable[str]) -> None:
    """Write a whole file (its text, or the parts of it) under a temporary name in its folder, then rename it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.writelines([text] if isinstance(text, str) else text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
