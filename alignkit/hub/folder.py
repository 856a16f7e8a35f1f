"""A folder that appears whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


def check_target(target: str | Path, source: Path, force: bool) -> Path:
    """Return `target` as an absolute path if a folder may be put there, else raise `InputError` saying why not.

    With `force` a folder with content is replaced, but never one that holds the checkpoint, the current folder or the
    home folder.
    """
    path = Path(target).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {target} is a file; name a folder.")
    if path.is_dir() and any(path.iterdir()):
        if not force:
            raise InputError(
                f"--out {target} exists and is not empty; name another folder or replace it with --force."
            )
        resolved = path.resolve()
        for kept, what in ((source, "the checkpoint"), (Path.cwd(), "the current folder"), (Path.home(), "your home")):
            if kept.resolve() == resolved or resolved in kept.resolve().parents:
                raise InputError(f"--out {target} is or contains {what} ({kept}) and would be replaced; name another.")
    return path


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`; rename it to `target` when the block ends, remove it if the block fails.

    A folder that is in the way is moved aside first and removed last, so that at every moment the old or the new one
    exists complete.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = f"{os.getpid()}-{secrets.token_hex(3)}"
    building = target.with_name(f"{target.name}.tmp-{mark}")
    building.mkdir()
    try:
        yield building
        if target.exists():
            aside = target.with_name(f"{target.name}.old-{mark}")
            os.rename(target, aside)
            try:
                os.rename(building, target)
            except OSError:
                os.rename(aside, target)
                raise
            shutil.rmtree(aside)
        else:
            os.rename(building, target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
