"""Stage "generate" of an image suite: PNG files and a record of each; what is there is not drawn again."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from alignkit.errors import InputError
from alignkit.generation.images import ImageSampler

from ..fingerprints import text_hash
from ..generating import generation_log, generation_records
from ..items import Item
from ..plan import Plan, Run
from ..processes import Processes
from ..records import Record
from .planning import caption, image_sampling, image_source


logger = logging.getLogger(__name__)


def draw_stage(plan: Plan, folder: Path) -> None:
    """Draw every image of the plan that is not on disk yet. A model with nothing to do is not loaded."""
    processes = Processes.here()
    for run in plan.runs:
        records = drawn_records(plan, run, folder)
        todo = [(item, sample) for item, sample in wanted(plan) if (item.item_id, sample) not in records]
        logger.info("%s: %d images are to be drawn", run.label, len(todo))
        processes.barrier()  # everyone has read what is there before anyone writes
        own = todo[processes.rank :: processes.size]
        if own:
            draw_run(plan, run, folder, own, processes)
        processes.barrier()


def draw_run(plan: Plan, run: Run, folder: Path, todo: list[tuple[Item, int]], processes: Processes) -> None:
    """Draw the images of one model, and record each as it comes."""
    from tqdm.auto import tqdm

    options = plan.options
    sampler = ImageSampler.load(
        image_source(run.name, options), options.dtype, processes.device(options.device), options.batch_size
    )
    seeds = [plan.seed(item, sample) for item, sample in todo]
    images = sampler.sample([caption(item) for item, _ in todo], seeds, image_sampling(options))
    title = f"{plan.suite.name}: draw {run.label}"
    with generation_log(folder, run, processes.rank) as log:
        for (item, sample), image in tqdm(
            zip(todo, images, strict=True), desc=title, total=len(todo), unit="img", disable=not processes.is_main
        ):
            path = image_path(run, item, sample)
            save_png(image, folder / path)
            log.append(
                {
                    "item_id": item.item_id,
                    "sample_index": sample,
                    "seed": plan.seed(item, sample),
                    "prompt_hash": text_hash(caption(item)),
                    "image": str(path),
                    "image_hash": text_hash((folder / path).read_bytes()),
                    "model": run.name,
                    "fingerprint": run.fingerprint,
                    "model_fingerprint": run.model_fingerprint,
                }
            )


def wanted(plan: Plan) -> list[tuple[Item, int]]:
    """Items and sample numbers of every image of one model."""
    return [(item, sample) for item in plan.items for sample in range(plan.n_samples)]


def drawn_records(plan: Plan, run: Run, folder: Path) -> dict[tuple[str, int], Record]:
    """The records of the plan's images whose files are there, by item and sample number."""
    records: dict[Any, Record] = generation_records(folder, run)
    found = {}
    for item, sample in wanted(plan):
        record = records.get((item.item_id, sample, text_hash(caption(item))))
        if record is not None and (folder / record["image"]).is_file():
            found[item.item_id, sample] = record
    return found


def read_images(plan: Plan, run: Run, folder: Path) -> list[tuple[Item, list[Record]]]:
    """Every item with the records of its images in order. Raises `InputError` if some are missing."""
    records = drawn_records(plan, run, folder)
    missing = len(wanted(plan)) - len(records)
    if missing:
        raise InputError(
            f"{missing} of {len(wanted(plan))} images of {run.name} are not in {folder / 'images'}: run "
            "`alignkit eval generate` first"
        )
    return [(item, [records[item.item_id, sample] for sample in range(plan.n_samples)]) for item in plan.items]


def image_path(run: Run, item: Item, sample: int) -> Path:
    """Where an image lies in the output folder."""
    return Path("images", run.fingerprint, f"{item.item_id}-{sample}.png")


def save_png(image: Any, path: Path) -> None:
    """Write an image whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    image.save(temporary, format="PNG")
    os.replace(temporary, path)
