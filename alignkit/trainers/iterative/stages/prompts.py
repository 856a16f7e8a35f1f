"""The prompts of a run, and stage `prompts`: the share of one iteration."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from ....config import Run
from ....data import load, load_for_run
from ....errors import InputError
from ..context import Context
from ..files import write_rows, write_text


ORDER_FILE = "prompt_order.json"


def load_prompts(run: Run) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
    """The rows of the data set and of the evaluation set (None if that is to be held out of the data set)."""
    dataset, _, name = load_for_run(run.script, run.mixture, run.training.seed)
    rows = prompt_rows(dataset, name, None)
    config = run.training
    if config.eval_dataset_name is None:
        return rows, None
    evaluation = load(config.eval_dataset_name)
    split = "test" if "test" in evaluation else next(iter(evaluation))
    return rows, prompt_rows(evaluation[split], config.eval_dataset_name, config.num_eval_prompts)


def prompt_rows(dataset, name: str, limit: int | None) -> list[dict[str, Any]]:
    """Rows with a `prompt`; what would be a teacher-forced pair (`chosen`, `rejected`) is left out."""
    rows = []
    for place, row in enumerate(dataset):
        if limit is not None and place >= limit:
            break
        prompt = row.get("prompt")
        if not prompt or not isinstance(prompt, (str, list)):
            raise InputError(
                f"{name}: row {place} (counted from 0) has {prompt!r} as `prompt`; expected text or messages."
            )
        rows.append({key: value for key, value in row.items() if key not in ("chosen", "rejected")})
    if not rows:
        raise InputError(f"{name}: the data set holds no prompt.")
    return rows


def draw_order(size: int, config: Any, hold_out: bool) -> dict[str, list[int]]:
    """The permutation of the prompts, drawn once from the base seed: {"eval": ids held out, "train": the others}."""
    order = list(range(size))
    random.Random(config.seed).shuffle(order)
    held_out = order[: config.num_eval_prompts] if hold_out else []
    rest = order[len(held_out) :]
    rest = rest if config.num_prompts is None else rest[: config.num_prompts]
    if len(rest) < config.num_iterations:
        raise InputError(
            f"{len(rest)} of {size} prompts are left for training beside {len(held_out)} for evaluation "
            f"(`num_eval_prompts`), but each of the {config.num_iterations} iterations (`num_iterations`) needs at least 1."
        )
    return {"eval": held_out, "train": rest}


def write_order(folder: Path, order: dict[str, list[int]]) -> dict[str, str]:
    """Write the permutation; return its {path, sha256} for the state."""
    text = json.dumps(order) + "\n"
    write_text(folder / ORDER_FILE, text)
    return {"path": ORDER_FILE, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def read_order(context: Context) -> dict[str, list[int]]:
    """The permutation of the run; `InputError` if its file is not the one that the run began with."""
    known = context.state.prompt_order
    path = context.folder / known["path"]
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if hashlib.sha256(text.encode()).hexdigest() != known["sha256"]:
        raise InputError(f"{path} is missing or was changed since the run began; give another `output_dir`.")
    return json.loads(text)


def shard(order: list[int], iteration: int, num_iterations: int) -> list[int]:
    """Share t of T of a permutation of n: indices [t n / T, (t + 1) n / T). The shares are disjoint and cover it."""
    start, end = (len(order) * place // num_iterations for place in (iteration, iteration + 1))
    return order[start:end]


def prompts(context: Context, rows: list[dict[str, Any]]) -> None:
    """Write `prompts.jsonl`, the share of this iteration; a prompt's id is its row in the data set."""
    state = context.state
    ids = sorted(shard(read_order(context)["train"], state.iteration, state.num_iterations))
    write_rows(context.iteration_dir / "prompts.jsonl", [{**rows[place], "prompt_id": place} for place in ids])
