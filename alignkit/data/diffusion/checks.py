"""Checks of image data before anything is loaded: every image can be read and is large enough, every prompt says something."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import InputError
from ..rows import kind_of
from .loading import PROMPT, SOURCE_ROW


# An image longer than this many times its short side loses more than half of itself to the centre crop.
MAX_RATIO = 2.0
SHOW_PROGRESS_FROM = 1000


def check_images(
    dataset: Any, image_columns: Sequence[str], name: str | None = None, resolution: int | None = None
) -> None:
    """Read every prompt and every image; images are decoded one at a time.

    Args:
        dataset: `datasets.Dataset` with `prompt` and `image_columns` (as `load_images` gives it).
        image_columns: which columns hold images.
        name: of the data set in messages; default: what `load_images` was asked for.
        resolution: pixels that the model trains on: the short side is scaled to it and the centre is cut out, so that a
            smaller image, or one longer than `MAX_RATIO` times its short side, is refused. None: any size.

    Raises:
        InputError: naming data set, row and field of the first problem and how many rows more have one.
    """
    name = name or dataset.info.dataset_name or "the data set"
    if not len(dataset):
        raise InputError(f"{name}: the data set holds no rows; expected at least one.")
    first, others = None, 0
    for problem in problems(dataset, image_columns, resolution):
        if first is None:
            first = problem
        else:
            others += 1
    if first is not None:
        row, field, message = first
        more = f" ({others} more {'row has' if others == 1 else 'rows have'} a problem)" if others else ""
        raise InputError(f"{name}, row {row} (counting from 0), field `{field}`: {message}{more}.")


def problems(dataset: Any, image_columns: Sequence[str], resolution: int | None) -> Iterator[tuple[int, str, str]]:
    """Row, field and message of the first problem of every row that has one."""
    from datasets import Image
    from tqdm.auto import tqdm

    names = [PROMPT, *image_columns, *([SOURCE_ROW] if SOURCE_ROW in dataset.column_names else [])]
    dataset = dataset.select_columns(names)
    for column in image_columns:
        dataset = dataset.cast_column(column, Image(decode=False))
    rows = tqdm(dataset, desc="Checking images", unit="row", disable=len(dataset) < SHOW_PROGRESS_FROM)
    for index, row in enumerate(rows):
        place = row.get(SOURCE_ROW, index)
        if message := prompt_problem(row[PROMPT]):
            yield place, PROMPT, message
            continue
        for column in image_columns:
            if message := image_problem(row[column], resolution):
                yield place, column, message
                break


def prompt_problem(value: Any) -> str | None:
    """What is wrong with a prompt."""
    if not isinstance(value, str):
        return f"the prompt is {kind_of(value)}; expected text"
    return None if value.strip() else f"the prompt is {value!r}; expected a caption that is not empty"


def image_problem(value: dict[str, Any] | None, resolution: int | None) -> str | None:
    """What is wrong with an image, {"bytes": ..., "path": ...} as `datasets` stores it."""
    from PIL import Image

    if value is None or (value["bytes"] is None and value["path"] is None):
        return "the image is missing (null); give one or remove the row"
    shown = f"the image {value['path']}" if value["path"] else "the image"
    try:
        with Image.open(io.BytesIO(value["bytes"]) if value["bytes"] is not None else value["path"]) as image:
            image.load()
            width, height = image.size
    except FileNotFoundError:
        return f"{shown} does not exist; correct the path or remove the row"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # PIL raises SyntaxError for a broken PNG.
        detail = " ".join(str(error).split())[:120] if value["bytes"] is None else type(error).__name__
        return f"{shown} is corrupt or no image ({detail}); replace it or remove the row"
    if resolution is None:
        return None
    if min(width, height) < resolution:
        return (
            f"{shown} is {width} x {height}, smaller than the {resolution} x {resolution} that the model trains on; give "
            f"a larger one, remove the row, or set `resolution` to {min(width, height)} or less"
        )
    if max(width, height) > MAX_RATIO * min(width, height):
        return (
            f"{shown} is {width} x {height}: images are scaled to {resolution} on the short side and cut to the middle "
            f"square, which would lose more than half of it; cut it to at most {MAX_RATIO:g} to 1, or remove the row"
        )
    return None
