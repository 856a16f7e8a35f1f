"""Stage `generate`: K responses to each prompt, each with a seed of its own."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ....errors import InputError
from ....generation import SamplingParams, derive_seed, load_generator, render_prompt
from ....judges import RecordLog
from ..context import Context
from ..files import read_rows, remove, write_rows


logger = logging.getLogger(__name__)

# vLLM batches by itself; between two chunks the finished responses are on the disk.
VLLM_CHUNK_SIZE = 512


def generate(context: Context) -> None:
    """Write `responses.jsonl`: the K samples of every prompt, and the teacher's response where the method has one."""
    folder, config = context.iteration_dir, context.config
    rows = read_rows(folder / "prompts.jsonl")
    sampling = SamplingParams(config.temperature, config.top_p, config.top_k, config.max_completion_length)
    log_path = folder / "responses.partial.jsonl"
    scope = context.state.iteration
    responses = sample(context, context.state.policy, rows, config.num_generations, sampling, scope, log_path)
    gold = context.rule.gold_column
    if gold:
        responses += [
            {
                "prompt_id": row["prompt_id"],
                "k": config.num_generations,
                "text": gold_text(row, gold),
                "token_ids": None,
                "finish_reason": "stop",
                "seed": None,
                "is_teacher": True,
            }
            for row in rows
        ]
        responses.sort(key=lambda row: (row["prompt_id"], row["k"]))
    write_rows(folder / "responses.jsonl", responses)
    remove(log_path)


def sample(
    context: Context,
    model: str,
    rows: Sequence[dict[str, Any]],
    count: int,
    sampling: SamplingParams,
    scope: int | str,
    log_path: Path,
) -> list[dict[str, Any]]:
    """`count` responses of `model` to each prompt, ordered by (prompt_id, k); what `log_path` holds is not made again.

    The seed of a response is made of (base seed, `scope`, prompt_id, k). Batches have a fixed composition and are
    recorded whole, so that a resumed run adds the same numbers in the same order as an uninterrupted one.
    """
    config = context.config
    prompts = {row["prompt_id"]: row["prompt"] for row in rows}
    items = [(row["prompt_id"], k) for row in rows for k in range(count)]
    items.sort(key=lambda item: (-len(str(prompts[item[0]])), item))
    size = VLLM_CHUNK_SIZE if config.use_vllm else config.generation_batch_size
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    log = RecordLog(log_path)
    done = {(record["prompt_id"], record["k"]): record for record in log}
    todo = [chunk for chunk in chunks if not all(item in done for item in chunk)]
    if todo:
        generator = load_generator(context.source(model), context.load_options())
        first = render_prompt(generator.tokenizer, rows[0]["prompt"])  # type: ignore[attr-defined]
        logger.info("The first prompt as the model reads it:\n%s", first)
        with tqdm(desc=f"responses {scope}", total=len(items), unit="response") as bar:
            bar.update(len(items) - sum(map(len, todo)))
            for chunk in todo:
                seeds = [derive_seed(context.state.base_seed, scope, *item) for item in chunk]
                completions = generator.generate([prompts[prompt_id] for prompt_id, _ in chunk], sampling, seeds)
                records = []
                for completion in completions:
                    prompt_id, k = chunk[completion.index]
                    records.append(
                        {
                            "prompt_id": prompt_id,
                            "k": k,
                            "text": completion.text,
                            "token_ids": list(completion.token_ids),
                            "finish_reason": completion.finish_reason,
                            "seed": seeds[completion.index],
                            "is_teacher": False,
                        }
                    )
                log.append(*records)
                done.update({(record["prompt_id"], record["k"]): record for record in records})
                bar.update(len(chunk))
        generator.close()
    log.close()
    return [done[item] for item in sorted(items)]


def gold_text(row: dict[str, Any], column: str) -> str:
    """The teacher's response to a prompt as text."""
    value = row.get(column)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0].get("content")
    if not isinstance(value, str) or not value.strip():
        raise InputError(
            f"prompt {row['prompt_id']} (row counted from 0) has {value!r} in the column {column!r} (`gold_column`); "
            "expected the teacher's response as text or as one assistant message."
        )
    return value
