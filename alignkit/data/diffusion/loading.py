"""Image data sets by name: the bundled shapes, a folder, a file or the Hub, with the columns that a diffusion trainer reads.

Preference data have prompt, image_chosen and image_rejected, winner-only data prompt and image. Pick-a-Pic's columns
(caption, jpg_0, jpg_1, label_0) are turned into these; where winners only are wanted, the chosen image is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..files import is_data_file, load_file
from ..loading import load, take_split
from ..rows import is_text_file, read_rows
from ..validation import missing_column
from .shapes import IMAGE_DATASETS, load_shapes


logger = logging.getLogger(__name__)

PROMPT = "prompt"
PREFERENCE_COLUMNS = ("prompt", "image_chosen", "image_rejected")
WINNER_COLUMNS = ("prompt", "image")
# What other data sets call the prompt, and what `imagefolder` calls the path of an image.
PROMPT_NAMES = ("caption", "text")
FILE_NAME = "file_name"
METADATA_FILES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
PICK_COLUMNS = ("jpg_0", "jpg_1", "label_0")
# Where rows were dropped, the row that each was in the source.
SOURCE_ROW = "source_row"


def load_images(
    name: str, split: str = "train", columns: Sequence[str] = PREFERENCE_COLUMNS, config_name: str | None = None
) -> Any:
    """Load one split as a `datasets.Dataset` with `prompt` and PIL images.

    Args:
        name: `bundled/shapes_preference` or `bundled/shapes`; a folder with metadata.jsonl (.csv, .parquet) beside its
            images, as `imagefolder` reads; a .jsonl, .json, .csv or .parquet file with image paths (relative to the file)
            or, in parquet, the images themselves; any other name is looked up on the Hub.
        split: also sliced, as in `"train[:100]"`.
        columns: `PREFERENCE_COLUMNS` or `WINNER_COLUMNS`.
        config_name: configuration of a Hub data set.

    Raises:
        InputError: naming file and line of an image that is not there, a column that is missing, or what was tried.
    """
    from datasets import Image

    data = load_rows(name, split, config_name)
    for other in PROMPT_NAMES:
        if PROMPT not in data.column_names and other in data.column_names:
            data = data.rename_column(other, PROMPT)
    if set(PICK_COLUMNS) <= set(data.column_names) and "image_chosen" not in data.column_names:
        data = from_labels(data, name)
    if "image" in columns and "image" not in data.column_names and "image_chosen" in data.column_names:
        data = data.rename_column("image_chosen", "image")
    for column in columns:
        if column not in data.column_names:
            raise missing_column(column, data.column_names, name)
    data = data.select_columns([own for own in (*columns, SOURCE_ROW) if own in data.column_names])
    for column in columns:
        if column != PROMPT:
            data = data.cast_column(column, Image())
    data.info.dataset_name = name
    return data


def load_rows(name: str, split: str, config_name: str | None) -> Any:
    """The rows as they are, image paths made absolute."""
    if name in IMAGE_DATASETS:
        base = split.partition("[")[0]
        return take_split({base: load_shapes(name, base)}, split, name)
    path = Path(name).expanduser()
    if path.is_dir():
        metadata = find_metadata(path, split.partition("[")[0])
        if metadata is not None:
            base = split.partition("[")[0]
            return take_split({base: load_paths(metadata)}, split, name)
    if path.is_file() and is_data_file(path):
        return take_split({"train": load_paths(path)}, split, name)
    return load(name, split, config_name=config_name)


def find_metadata(folder: Path, split: str) -> Path | None:
    """The metadata file of a folder of images: of the split's own folder, or, for "train", of the folder itself."""
    places = [folder / split, *([folder] if split == "train" else [])]
    return next((place / file for place in places for file in METADATA_FILES if (place / file).is_file()), None)


def load_paths(path: Path) -> Any:
    """The rows of a file whose image columns hold paths relative to it (`file_name` and `NAME_file_name` as
    `imagefolder` has them, or NAME), with absolute paths."""
    data = load_file(path)
    for column in data.column_names:
        if column == FILE_NAME:
            data = data.rename_column(column, "image")
        elif column.endswith(f"_{FILE_NAME}"):
            data = data.rename_column(column, column.removesuffix(f"_{FILE_NAME}"))
    known = {*PREFERENCE_COLUMNS, *WINNER_COLUMNS, *PICK_COLUMNS[:2]} - {PROMPT}
    columns = [name for name in data.column_names if name in known and data.features[name].dtype == "string"]
    if not columns:
        return data
    folder = path.resolve().parent

    def absolute(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {name: [value and str(folder / value) for value in rows[name]] for name in columns}

    check_paths(data.select_columns(columns), path, folder)
    return data.map(absolute, batched=True, desc="Image paths")


def check_paths(data: Any, path: Path, folder: Path) -> None:
    """Refuse the first row whose image is not there, by line where the file has lines."""
    for index, row in enumerate(data):
        for column, value in row.items():
            if value and (folder / value).is_file():
                continue
            place = f"row {index} (counting from 0)"
            if is_text_file(path):
                place = f"line {[line for line, _ in read_rows(path)][index]}"
            problem = f"the image file {value!r} does not exist in {folder}" if value else "no image is named"
            raise InputError(f"{path}, {place}, field `{column}`: {problem}; correct the path or remove the row.")


def from_labels(data: Any, name: str) -> Any:
    """Pick-a-Pic's rows as preference rows: jpg_0 is chosen where label_0 is 1 and rejected where it is 0; ties (0.5) are
    dropped and counted."""
    from datasets import Features, Image, Value

    labels = data["label_0"]
    for row, label in enumerate(labels):
        if label not in (0, 0.5, 1):
            raise InputError(
                f"{name}, row {row} (counting from 0), field `label_0`: the value is {label!r}; expected 1 (jpg_0 is "
                "better), 0 (jpg_1 is better) or 0.5 (a tie)."
            )
    decided = [row for row, label in enumerate(labels) if label != 0.5]
    if len(decided) < len(labels):
        logger.warning("%s: %d of %d rows are ties and are left out", name, len(labels) - len(decided), len(labels))
    if not decided:
        raise InputError(f"{name}: all {len(labels)} rows are ties (`label_0` is 0.5); nothing is left to train on.")
    for column in PICK_COLUMNS[:2]:
        data = data.cast_column(column, Image(decode=False))

    def choose(row: dict[str, Any], index: int) -> dict[str, Any]:
        first, second = (row["jpg_0"], row["jpg_1"]) if row["label_0"] == 1 else (row["jpg_1"], row["jpg_0"])
        return {"prompt": row["prompt"], "image_chosen": first, "image_rejected": second, SOURCE_ROW: decided[index]}

    features = Features(
        {"prompt": Value("string"), "image_chosen": Image(), "image_rejected": Image(), SOURCE_ROW: Value("int64")}
    )
    if PROMPT not in data.column_names:
        raise missing_column(PROMPT, data.column_names, name)
    return data.select(decided).map(
        choose, with_indices=True, remove_columns=data.column_names, features=features, desc="Chosen and rejected"
    )
