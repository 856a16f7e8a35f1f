"""Stage "grade" of an image suite: `grades/<run>-<scorer>.jsonl`, a record per image; what is scored is not scored again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignkit.errors import InputError
from alignkit.rewards.images import load_scorer

from ..items import Item
from ..plan import Plan, Run
from ..records import Record, RecordLog
from .drawing import read_images
from .planning import caption, scorer_fingerprint, scorer_spec


# Images that are scored, and recorded, together.
BLOCK = 32
Scored = list[tuple[Item, list[Record], list[Record]]]


def score_images(plan: Plan, folder: Path) -> None:
    """Score every image of the plan that has no score. Without such an image the scorer is not loaded."""
    from PIL import Image
    from tqdm.auto import tqdm

    scorer: Any = None
    for run in plan.runs:
        with grade_log(plan, run, folder) as log:
            todo = [
                (item, record)
                for item, records in read_images(plan, run, folder)
                for record in records
                if grade_key(record) not in log
            ]
            if not todo:
                continue
            scorer = scorer or load_scorer(scorer_spec(plan.options), plan.options.device)
            with tqdm(desc=f"{plan.suite.name}: score {run.label}", total=len(todo), unit="img") as bar:
                for start in range(0, len(todo), BLOCK):
                    block = todo[start : start + BLOCK]
                    captions = [caption(item) for item, _ in block]
                    images = [Image.open(folder / record["image"]).convert("RGB") for _, record in block]
                    scores = scorer.score(captions, images)
                    parts = scorer.parts(captions, images) if hasattr(scorer, "parts") else [{}] * len(block)
                    for (_, record), score, own in zip(block, scores, parts, strict=True):
                        log.append({**named(record), "score": score, "parts": own, "unit": scorer.unit})
                    bar.update(len(block))


def read_scores(plan: Plan, run: Run, folder: Path) -> Scored:
    """Every item with its images and their scores in order. Raises `InputError` if some are missing."""
    log = grade_log(plan, run, folder)
    rows = read_images(plan, run, folder)
    missing = sum(grade_key(record) not in log for _, records in rows for record in records)
    if missing:
        raise InputError(f"{missing} images of {run.name} have no score yet: run `alignkit eval grade --out {folder}`")
    return [(item, records, [log[grade_key(record)] for record in records]) for item, records in rows]


def grade_log(plan: Plan, run: Run, folder: Path) -> RecordLog:
    name = f"{run.fingerprint}-{scorer_fingerprint(plan.options)}.jsonl"
    return RecordLog(folder / "grades" / name, grade_key)


def named(record: Record) -> Record:
    return {name: record[name] for name in ("item_id", "sample_index", "image_hash")}


def grade_key(record: Record) -> tuple[str, int, str]:
    return record["item_id"], record["sample_index"], record["image_hash"]
