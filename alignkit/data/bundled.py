"""The model and the data sets that the package carries: their names and where they lie.

They are made by `data/make_tiny_model.py`; `bundled_files/MANIFEST.json` records how, with a sha256 of every file.
"""

from __future__ import annotations

from pathlib import Path

from alignkit.errors import InputError


BUNDLED_FOLDER = Path(__file__).parent / "bundled_files"
PREFIX = "bundled/"
MODEL_NAME = "bundled/tiny-math"
DATASETS = [
    "bundled/preference",
    "bundled/preference_scored",
    "bundled/math",
    "bundled/math_tasks",
    "bundled/sft",
    "bundled/math_eval",
]


def resolve_model(name_or_path: str) -> str:
    """The local folder of `bundled/tiny-math`; any other model name or path comes back unchanged.

    Raises InputError for another name that starts with `bundled/`, unless a local folder is called so.
    """
    if name_or_path == MODEL_NAME:
        return str(BUNDLED_FOLDER / "model")
    if name_or_path.startswith(PREFIX) and not Path(name_or_path).exists():
        raise InputError(f"there is no bundled model {name_or_path!r}; the only one is {MODEL_NAME!r}")
    return name_or_path


def dataset_path(name: str) -> Path:
    """The JSON lines file of a bundled data set, e.g. of `bundled/math`; raises InputError for an unknown name."""
    if name not in DATASETS:
        raise InputError(f"there is no bundled data set {name!r}; choose one of {', '.join(DATASETS)}")
    return BUNDLED_FOLDER / f"{name.removeprefix(PREFIX)}.jsonl"
