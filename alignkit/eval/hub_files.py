"""Single files that `datasets` cannot load: of data sets on the Hub, of benchmarks' repositories, and folders of them."""

import os
import urllib.error
import urllib.request
from pathlib import Path

from alignkit.errors import InputError

from .records import write_atomically


# The environment variable that names a folder of benchmark data.
DATA_VARIABLE = "ALIGNKIT_EVAL_DATA"


class Unavailable(Exception):
    """A file that cannot be had; the text says why."""


def hub_dataset_file(repo: str, filename: str, revision: str | None = None) -> Path | None:
    """A file of a data set's repository, downloaded or from the local cache; None if it cannot be had."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, filename, repo_type="dataset", revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None


def repository_file(repository: str, commit: str, name: str, cache: str) -> Path:
    """A file of a source repository at a fixed commit, downloaded once into the folder `cache` beside the Hub's cache.

    Raises `Unavailable` where it cannot be had.
    """
    from huggingface_hub import constants

    path = Path(constants.HF_HOME) / "alignkit" / f"{cache}-{commit[:12]}" / name
    if path.is_file():
        return path
    if constants.HF_HUB_OFFLINE:
        raise Unavailable("HF_HUB_OFFLINE forbids the download")
    try:
        with urllib.request.urlopen(f"{repository}/{commit}/{name}", timeout=30) as reply:
            write_atomically(path, reply.read().decode("utf-8"))
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Unavailable(type(error).__name__) from error
    return path


def data_folders(data: str | None, name: str) -> list[Path]:
    """Folders that may hold a benchmark's files, the user's first, then those of `ALIGNKIT_EVAL_DATA`. `data`: what the
    user gave, a folder or a file. Raises `InputError` if it does not exist."""
    given = [Path(data).expanduser()] if data else []
    if given and not given[0].exists():
        raise InputError(f"--data {data} does not exist: give a folder of the benchmark or a file of questions")
    root = os.environ.get(DATA_VARIABLE)
    shared = [Path(root) / name, Path(root)] if root else []
    return [folder for folder in (*given, *shared) if folder.is_dir()]
