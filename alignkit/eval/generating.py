"""Stage 1: completions. Writes `prompts/<run>.json` and `generations/<run>.jsonl`; what is there is not made again.

Several processes share the work: each writes a file of its own, `generations/<run>.rank1.jsonl`, and reads them all.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignkit.errors import InputError
from alignkit.generation import load_generator, load_tokenizer, prompt_hash, render_prompt
from alignkit.generation.prompts import encode_prompt

from .answering import (
    ENDPOINT,
    OUTPUTS,
    USUAL_ANSWER_TOKENS,
    WEIGHTS,
    Answer,
    EndpointGenerator,
    StoredOutputs,
    as_messages,
    endpoint_options,
    render_messages,
)
from .costs import Budget, estimate, money_spent
from .items import Item
from .plan import Plan, Run, read_json
from .processes import Processes
from .records import Record, RecordLog, write_atomically


logger = logging.getLogger(__name__)

Todo = Sequence[tuple[Item, int]]


def generate_stage(plan: Plan, folder: Path) -> None:
    """Generate every completion of the plan that is not on disk yet. A model with nothing to do is not loaded."""
    announce_cost(plan, folder)
    for run in plan.runs:
        generate_run(plan, run, folder)


def generate_run(plan: Plan, run: Run, folder: Path) -> None:
    """Generate the missing completions of one model."""
    processes = Processes.here()
    prompts = render_prompts(plan, run)
    logger.info("the first prompt as %s reads it:\n%s", run.label, prompts[plan.items[0].item_id])
    if processes.is_main:
        write_atomically(prompts_file(folder, run), json.dumps(prompts, indent=0) + "\n")
    hashes = {item_id: prompt_hash(text) for item_id, text in prompts.items()}
    todo = missing_completions(plan, run, folder, hashes)
    total = len(plan.items) * plan.n_samples
    logger.info("%s: %d of %d completions are there", run.label, total - len(todo), total)
    processes.barrier()  # everyone has read what is there before anyone writes
    if todo:
        complete(plan, run, folder, todo[processes.rank :: processes.size], hashes, processes)
    processes.barrier()


def missing_completions(plan: Plan, run: Run, folder: Path, hashes: dict[str, str]) -> list[tuple[Item, int]]:
    """Items and sample numbers that no record of the run holds; `hashes` names the prompts."""
    done = generation_records(folder, run)
    return [
        (item, sample)
        for item in plan.items
        for sample in range(plan.n_samples)
        if (item.item_id, sample, hashes[item.item_id]) not in done
    ]


def announce_cost(plan: Plan, folder: Path) -> None:
    """Log what the answers of each endpoint are expected to cost, and refuse what max_cost forbids, before the first paid
    call. What has no price (a server of one's own) counts nothing."""
    budget = Budget(plan.options.max_cost, money_spent(folder))
    for run in plan.runs:
        if run.source != ENDPOINT:
            continue
        hashes = {item_id: prompt_hash(text) for item_id, text in render_prompts(plan, run).items()}
        missing = [as_messages(item.prompt) for item, _ in missing_completions(plan, run, folder, hashes)]
        known = list(generation_records(folder, run).values())
        expected = estimate(missing, endpoint_options(run.name, plan.sampling), USUAL_ANSWER_TOKENS, known)
        if missing:
            logger.warning("%s: answers of %s: %s", plan.suite.name, run.label, expected.describe())
        if missing and expected.cost is not None:
            budget.check(expected, run.label, "answering")
            budget.committed += expected.cost


def complete(plan: Plan, run: Run, folder: Path, todo: Todo, hashes: dict[str, str], processes: Processes) -> None:
    """Generate the completions of `todo` and record each as it comes."""
    from tqdm.auto import tqdm

    if not todo:
        return
    with generation_log(folder, run, processes.rank) as log:
        generator = make_generator(plan, run, folder, todo, processes)
        too_long = items_without_room(generator, plan.items, plan.options.chat_template_kwargs)
        for item, sample in todo:
            if item.item_id in too_long:
                log.append(generation_record(plan, run, item, sample, hashes, Answer(0, "", "length", 0)))
        if too_long:
            logger.warning(
                "%s: the prompts of %d items fill the %d tokens of %s's context: no answer, counted as cut off",
                plan.suite.name,
                len(too_long),
                generator.max_positions,
                run.label,
            )
        todo = [(item, sample) for item, sample in todo if item.item_id not in too_long]
        seeds = [plan.seed(item, sample) for item, sample in todo]
        completions = generator.generate([item.prompt for item, _ in todo], plan.sampling, seeds)
        tokens = 0
        with tqdm(
            completions,
            desc=f"{plan.suite.name}: generate {run.label}",
            total=len(todo),
            unit="ans",
            disable=not processes.is_main,
        ) as bar:
            for completion in bar:
                item, sample = todo[completion.index]
                log.append(generation_record(plan, run, item, sample, hashes, completion))
                tokens += completion.n_tokens
                bar.set_postfix_str(
                    f"{tokens / max(bar.format_dict['elapsed'] or 0, 1e-9):.0f} tokens/s", refresh=False
                )
        generator.close()


def generation_record(
    plan: Plan, run: Run, item: Item, sample: int, hashes: dict[str, str], completion: Any
) -> Record:
    return {
        "item_id": item.item_id,
        "sample_index": sample,
        "seed": plan.seed(item, sample),
        "prompt_hash": hashes[item.item_id],
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "n_tokens": completion.n_tokens,
        "model": run.name,
        "fingerprint": run.fingerprint,
        "model_fingerprint": run.model_fingerprint,
        **({"prompt_tokens": completion.prompt_tokens, "cost": completion.cost} if run.source == ENDPOINT else {}),
    }


def items_without_room(
    generator: Any, items: Sequence[Item], chat_template_kwargs: dict[str, Any] | None = None
) -> set[str]:
    """Items whose prompt leaves no room in the context of a model that is loaded here. One long prompt must not end the
    evaluation of all the others."""
    limit = getattr(generator, "max_positions", None)
    if limit is None:
        return set()
    encoded = ((item, encode_prompt(generator.tokenizer, item.prompt, chat_template_kwargs)) for item in items)
    return {item.item_id for item, tokens in encoded if len(tokens) >= limit}


def make_generator(plan: Plan, run: Run, folder: Path, todo: Todo, processes: Processes) -> Any:
    """What answers for a run: its loaded weights, its endpoint, or the outputs in its file."""
    if run.source == ENDPOINT:
        already, limit = money_spent(folder), plan.options.max_cost
        share = None if limit is None else already + (limit - already) / processes.size
        return EndpointGenerator(run.name, plan.sampling, plan.options.concurrency, Budget(share, already))
    if run.source == OUTPUTS:
        outputs = plan.read_outputs(run)
        return StoredOutputs([outputs[item.item_id] for item, _ in todo])
    options = plan.load_options()
    if options.backend == "vllm":
        kwargs = options.vllm_kwargs or {}
        processes.claim_devices(kwargs.get("tensor_parallel_size", 1) * kwargs.get("pipeline_parallel_size", 1))
    return load_generator(plan.source(run), replace(options, device=processes.device(options.device)))


def render_prompts(plan: Plan, run: Run) -> dict[str, str]:
    """The prompt of every item as the model of a run reads it."""
    if run.source != WEIGHTS:
        return {item.item_id: render_messages(item.prompt) for item in plan.items}
    options = plan.load_options()
    tokenizer = load_tokenizer(plan.source(run), options.chat_template, options.trust_remote_code)
    return {item.item_id: render_prompt(tokenizer, item.prompt, options.chat_template_kwargs) for item in plan.items}


def prompts_file(folder: Path, run: Run) -> Path:
    """The prompts of the plan's items as the model of a run reads them."""
    return folder / "prompts" / f"{run.fingerprint}.json"


def generation_log(folder: Path, run: Run, rank: int = 0) -> RecordLog:
    """The records of one run that one process writes."""
    name = f"{run.fingerprint}.rank{rank}.jsonl" if rank else f"{run.fingerprint}.jsonl"
    return RecordLog(folder / "generations" / name, generation_key)


def generation_key(record: Record) -> tuple[str, int, str]:
    return record["item_id"], record["sample_index"], record["prompt_hash"]


def generation_records(folder: Path, run: Run) -> dict[Any, Record]:
    """The records of one run, whichever process wrote them."""
    records = dict(generation_log(folder, run).records)
    for path in sorted((folder / "generations").glob(f"{run.fingerprint}.rank*.jsonl")):
        records |= {key: own for key, own in RecordLog(path, generation_key).records.items() if key not in records}
    return records


def read_generations(plan: Plan, run: Run, folder: Path) -> list[tuple[Item, list[Record]]]:
    """Every item with its completions in order. Raises `InputError` if some are missing."""
    rendered = prompts_file(folder, run)
    if not rendered.is_file():
        raise InputError(f"nothing is generated for {run.name} in {folder} yet: run `alignkit eval generate` first")
    hashes = {item_id: prompt_hash(text) for item_id, text in read_json(rendered).items()}
    records = generation_records(folder, run)
    keys = [
        [(item.item_id, sample, hashes.get(item.item_id)) for sample in range(plan.n_samples)] for item in plan.items
    ]
    missing = sum(key not in records for row in keys for key in row)
    if missing:
        total = len(plan.items) * plan.n_samples
        raise InputError(
            f"{missing} of {total} completions of {run.name} are not in {folder / 'generations'}: run `alignkit eval "
            "generate` first"
        )
    return [(item, [records[key] for key in row]) for item, row in zip(plan.items, keys, strict=True)]
