"""Files that are there whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any


TEMPORARY = ".tmp"


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, wait until it is on the disk, and rename it."""
    temporary = temporary_path(path)
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines, whole or not at all. A float comes back from them to the last bit."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def temporary_path(path: Path) -> Path:
    """The name under which `path` is written; what lies there is unfinished."""
    return path.with_name(path.name + TEMPORARY)


def publish(path: Path) -> None:
    """Give the finished file or folder at `temporary_path(path)` its name."""
    os.replace(temporary_path(path), path)


def remove_unfinished(folder: Path) -> None:
    """Delete what a crash left half-written in `folder`."""
    for path in folder.glob(f"*{TEMPORARY}"):
        remove(path)


def remove(path: Path) -> None:
    """Delete a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link(target: Path, path: Path) -> None:
    """Make `path` a relative link to `target`, replacing a link that is there."""
    temporary = temporary_path(path)
    remove(temporary)
    temporary.symlink_to(os.path.relpath(target, path.parent), target_is_directory=True)
    os.replace(temporary, path)
