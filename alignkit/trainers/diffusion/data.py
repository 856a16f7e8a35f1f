"""From a data set to the examples that a diffusion trainer reads."""

import os
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ...data.diffusion import check_images
from .examples import RawExamples, cached_examples, digest
from .families import Family


def build_examples(
    dataset: Any, family: Family, image_columns: tuple[str, ...], resolution: int, args: Any
) -> Dataset:
    """The examples of a data set, checked, and encoded where `cache_latents` is set; both once, whatever runs follow.

    Raises `InputError` naming the first row with a missing, broken or too small image, or an empty prompt.
    """
    folder = args.latents_dir or os.path.join(args.output_dir, "_encoded")
    if args.process_index == 0:
        check_once(dataset, image_columns, resolution, folder)
    raw = RawExamples(dataset, image_columns, resolution)
    if not args.cache_latents:
        return raw
    examples = cached_examples(raw, family, folder, args.encode_batch_size, args.process_index, args.world_size)
    if args.world_size > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
    return examples


def check_once(dataset: Any, image_columns: tuple[str, ...], resolution: int, folder: str) -> None:
    """Look at every row, unless a run that used the same folder has found these rows to be good."""
    marker = Path(folder, f"checked-{digest([dataset._fingerprint, image_columns, resolution])}")
    if marker.is_file():
        return
    check_images(dataset, image_columns, resolution=resolution)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
