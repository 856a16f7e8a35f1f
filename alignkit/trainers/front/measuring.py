"""The scores of a model on every objective: sample one response to each prompt, let each judge score it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ...config import Run
from ...data.bundled import resolve_model
from ...errors import InputError
from ...generation import LoadOptions, SamplingParams, derive_seed, load_generator, resolve_source
from ...generation.types import DTYPES
from ...judges import Judge
from ..iterative.files import write_rows, write_text
from ..iterative.stages.record import dump
from ..iterative.training import free_memory


logger = logging.getLogger(__name__)


def measure(run: Run, model: str, rows: Sequence[dict[str, Any]], judges: dict[str, Judge], folder: Path) -> None:
    """Write `responses.jsonl`, the responses with their scores, and `scores.json`, the means and standard errors.

    A response that a judge could not score (NaN) is left out of that objective's mean and counted. Every model answers
    with the same random numbers, so that differences between points are less noisy.
    """
    config = run.training
    sampling = SamplingParams(config.eval_temperature, max_new_tokens=config.max_completion_length, seed=config.seed)
    generator = load_generator(resolve_source(model, resolve=resolve_model), load_options(run))
    prompts = [row["prompt"] for row in rows]
    seeds = [derive_seed(config.seed, "front", index) for index in range(len(prompts))]
    records: list[dict[str, Any]] = [{} for _ in prompts]
    for item in tqdm(
        generator.generate(prompts, sampling, seeds), desc=f"responses {folder.name}", total=len(prompts)
    ):
        records[item.index] = {
            "prompt": prompts[item.index],
            "response": item.text,
            "tokens": item.n_tokens,
            "finish_reason": item.finish_reason,
        }
    generator.close()
    free_memory()
    scores: dict[str, Any] = {"num_prompts": len(prompts)}
    for name, judge in judges.items():
        values = judge.scores(prompts, [[record["response"]] for record in records])[:, 0]
        judge.unload()
        for record, value in zip(records, values.tolist(), strict=True):
            record[name] = None if value != value else value
        scores[name] = mean_and_error(values, name, folder)
    write_rows(folder / "responses.jsonl", records)
    write_text(folder / "scores.json", dump(scores))


def mean_and_error(values: np.ndarray, name: str, folder: Path) -> dict[str, Any]:
    """Mean, standard error and how many responses were not scored."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        raise InputError(f"{folder}: the judge of {name!r} scored none of the {len(values)} responses.")
    error = float(known.std(ddof=1) / len(known) ** 0.5) if len(known) > 1 else None
    return {"mean": float(known.mean()), "standard_error": error, "not_scored": len(values) - len(known)}


def load_options(run: Run) -> LoadOptions:
    """How the points are loaded for sampling."""
    model, config = run.model, run.training
    dtype = str(model.dtype).removeprefix("torch.")
    return LoadOptions(
        backend="vllm" if config.use_vllm else "transformers",
        dtype=dtype if dtype in DTYPES else "auto",
        device="cpu" if config.use_cpu else "auto",
        load_in_4bit=bool(model.load_in_4bit),
        trust_remote_code=bool(config.trust_remote_code),
        batch_size=config.generation_batch_size,
    )
