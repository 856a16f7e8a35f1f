"""The file that names the members of an ensemble of reward models, as `alignkit train reward --ensemble` writes it."""

import json
from pathlib import Path
from typing import NamedTuple

from alignkit.errors import InputError


ENSEMBLE_FILE = "ensemble.json"


class Members(NamedTuple):
    """Folders of the members, and (mean, standard deviation) of each one's scores on its training responses."""

    folders: list[str]
    normalization: list[tuple[float, float]]


def is_ensemble(folder: str) -> bool:
    """Whether `folder` holds an ensemble, finished or not."""
    return (Path(folder) / ENSEMBLE_FILE).is_file()


def read_members(folder: str) -> Members:
    """The members of the ensemble in `folder`. Raises `InputError` where there is none, or it is not finished."""
    path = Path(folder) / ENSEMBLE_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        folders = [str(path.parent / member["folder"]) for member in values["members"]]
        size, normalization = int(values["size"]), values["normalization"]
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no {ENSEMBLE_FILE}; `alignkit train reward --ensemble 5` makes an ensemble"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not describe an ensemble ({error!r}); train it again") from None
    if len(folders) < size or normalization is None:
        raise InputError(
            f"{folder} has {len(folders)} of {size} members: run its `alignkit train reward` again to go on"
        )
    return Members(folders, [(mean, std) for mean, std in normalization])


def member_folders(name: str) -> list[str]:
    """The folders of an ensemble's members; any other name is the one member."""
    return read_members(name).folders if is_ensemble(name) else [name]
