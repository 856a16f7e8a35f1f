"""Stage `judge`: what the judge thinks of the responses, in batches that are written to disk as they come."""

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ....errors import InputError
from ....judges import RecordLog
from ....judges.stats import as_metrics, since
from ..context import Context
from ..files import publish, read_rows, remove, temporary_path, write_text
from ..judging import judgements_of
from .record import dump


Array = np.ndarray

# Failures by kind, tokens, cost and position bias of the judge in this iteration.
JUDGE_METRICS = "judge_metrics.json"


def judge(context: Context) -> None:
    """Write `judgements.npz`: prompt ids [N], preferences [N, K, K] and/or scores [N, K], judge and number of calls."""
    folder = context.iteration_dir
    prompts = {row["prompt_id"]: row["prompt"] for row in read_rows(folder / "prompts.jsonl")}
    texts = responses_by_prompt(folder / "responses.jsonl")
    ids = list(texts)
    partial = folder / "judgements.partial.jsonl"
    log = RecordLog(partial)
    done = {record["prompt_id"]: record for record in log}
    size = context.config.judge_batch_size
    chunks = [ids[start : start + size] for start in range(0, len(ids), size)]
    with tqdm(desc=f"judge, iteration {context.state.iteration}", total=len(ids), unit="prompt") as bar:
        for chunk in chunks:
            todo = [prompt_id for prompt_id in chunk if prompt_id not in done]
            if todo:
                before = context.judge.stats.flat()
                preferences, scores = judgements_of(
                    context.judge,
                    context.rule.judge_output,
                    [prompts[prompt_id] for prompt_id in todo],
                    [[row["text"] for row in texts[prompt_id]] for prompt_id in todo],
                )
                counts = since(context.judge.stats.flat(), before)
                records = [
                    {
                        "prompt_id": prompt_id,
                        "preferences": None if preferences is None else preferences[place].tolist(),
                        "scores": None if scores is None else scores[place].tolist(),
                        "counts": counts if place == 0 else {},
                    }
                    for place, prompt_id in enumerate(todo)
                ]
                log.append(*records)
                done.update({record["prompt_id"]: record for record in records})
            bar.update(len(chunk))
    log.close()
    context.judge.unload()
    records = [done[prompt_id] for prompt_id in ids]
    total = total_counts(records)
    write_text(folder / JUDGE_METRICS, dump(as_metrics(total)))
    write_judgements(folder / "judgements.npz", context, records, int(total["calls"]))
    remove(partial)


def total_counts(records: Iterable[dict[str, Any]]) -> Counter[str]:
    """What the judge counted over all batches, whichever process asked them."""
    total: Counter[str] = Counter()
    for record in records:
        total.update(record["counts"])
    return total


def write_judgements(path: Path, context: Context, records: list[dict[str, Any]], calls: int) -> None:
    arrays: dict[str, Any] = {
        "prompt_ids": np.array([record["prompt_id"] for record in records]),
        "judge": np.array(context.judge.fingerprint),
        "calls": np.array(calls),
    }
    for name in ("preferences", "scores"):
        if records[0][name] is not None:
            arrays[name] = np.array([record[name] for record in records], dtype=float)
    with temporary_path(path).open("wb") as stream:
        np.savez(stream, **arrays)
    publish(path)


def read_judgements(path: Path) -> dict[str, Array]:
    """The arrays of `judgements.npz`."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def responses_by_prompt(path: Path) -> dict[int, list[dict[str, Any]]]:
    """{prompt_id: its responses in the order of k}, in the order of the ids."""
    rows = read_rows(path)
    groups = {key: list(group) for key, group in groupby(rows, key=lambda row: row["prompt_id"])}
    if len({len(group) for group in groups.values()}) != 1:
        raise InputError(f"{path} holds different numbers of responses per prompt; delete it and run again.")
    return groups
