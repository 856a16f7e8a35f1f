"""Append-only JSONL records that survive kill -9: one complete line per record, a half-written last line repaired."""

import json
import logging
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, BinaryIO

from alignkit.errors import InputError


logger = logging.getLogger(__name__)

Record = dict[str, Any]


class RecordLog:
    """A JSONL file of records, each known by a key; opened for appending it is locked against a second writer.

    Args:
        path: the file; it need not exist.
        key: the key of a record. Of two records with one key the first counts.
    """

    def __init__(self, path: Path, key: Callable[[Record], Hashable]) -> None:
        self.path = path
        self.key = key
        self.records: dict[Hashable, Record] = {}
        self._stream: BinaryIO | None = None
        self._read()

    def _read(self) -> int:
        """Read every complete record; return how many bytes of the file they take."""
        self.records.clear()
        raw = self.path.read_bytes() if self.path.exists() else b""
        good = 0
        for number, line in enumerate(raw.splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break  # the writer was killed in the middle of it
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InputError(
                    f"{self.path}, line {number}: damaged record ({error}): delete that line to have it made again"
                ) from error
            self.records.setdefault(self.key(record), record)
            good += len(line)
        return good

    def __contains__(self, key: Hashable) -> bool:
        return key in self.records

    def __getitem__(self, key: Hashable) -> Record:
        return self.records[key]

    def __enter__(self) -> "RecordLog":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("ab")
        try:
            lock(self._stream, self.path)
            good = self._read()  # again: another run may have written until it gave the lock up
            if self.path.stat().st_size > good:
                logger.warning("%s: its last line was only half written; it is removed", self.path)
                self._stream.truncate(good)
        except BaseException:
            self._stream.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._stream is not None
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._stream = None

    def append(self, record: Record) -> None:
        """Write one record; it is safe from the end of this process when the call returns."""
        assert self._stream is not None, "open the log with `with` before appending"
        self._stream.write(json.dumps(record).encode("ascii") + b"\n")
        self._stream.flush()
        self.records.setdefault(self.key(record), record)


def lock(stream: BinaryIO, path: Path) -> None:
    """Take the file for this process, where the platform has such locks; a killed process gives it up by itself."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"{path} is being written by another run: wait for it, or give another --out") from error


def write_atomically(path: Path, text: str) -> None:
    """Write a whole file so that a reader sees the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
