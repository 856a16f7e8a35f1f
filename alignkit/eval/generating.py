"""Stage 1: completions. Writes `prompts/<run>.json` and `generations/<run>.jsonl`; what is there is not made again.

Several processes share the work: each writes a file of its own, `generations/<run>.rank1.jsonl`, and reads them all.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from alignkit.errors import InputError
from alignkit.generation import SamplingParams, load_generator, load_tokenizer, prompt_hash, render_prompt
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
    """Generate the missing completions of one model: all first turns, then those that their answers open."""
    processes = Processes.here()
    prompts = Prompts(plan, run)
    logger.info("the first prompt as %s reads it:\n%s", run.label, prompts.text(plan.items[0]))
    generator = None
    for _ in range(plan.suite.turns):
        todo = list(missing_completions(plan, run, folder, prompts))
        if processes.is_main:
            write_atomically(prompts_file(folder, run), json.dumps(prompts.texts, indent=0) + "\n")
        logger.info("%s: %d completions are to be made", run.label, len(todo))
        processes.barrier()  # everyone has read what is there before anyone writes
        own = todo[processes.rank :: processes.size]
        if own:
            with generation_log(folder, run, processes.rank) as log:
                if generator is None or run.source != WEIGHTS:
                    generator = make_generator(plan, run, folder, own, processes)
                complete(plan, run, log, own, generator, prompts, processes)
        processes.barrier()
        if not todo:
            break
    if generator is not None:
        generator.close()


class Prompts:
    """The prompts of a run's items as its model reads them, rendered when they are asked for; `texts` holds them."""

    def __init__(self, plan: Plan, run: Run) -> None:
        self.plan = plan
        self.run = run
        self.texts: dict[str, str] = {}

    @cached_property
    def tokenizer(self) -> Any:
        options = self.plan.load_options()
        return load_tokenizer(self.plan.source(self.run), options.chat_template, options.trust_remote_code)

    def text(self, item: Item) -> str:
        if item.item_id not in self.texts:
            weights = self.run.source == WEIGHTS
            kwargs = self.plan.options.chat_template_kwargs
            text = render_prompt(self.tokenizer, item.prompt, kwargs) if weights else render_messages(item.prompt)
            self.texts[item.item_id] = text
        return self.texts[item.item_id]

    def hash(self, item: Item) -> str:
        """Names the prompt in the records."""
        return prompt_hash(self.text(item))


def walk(
    plan: Plan, run: Run, records: Mapping[Any, Record], hash_of: Callable[[Item], str | None]
) -> Iterator[tuple[Item, list[tuple[str, int, str | None]]]]:
    """Every item with the keys of its completions; where they are all there, the next turn of its dialogue follows."""
    for first in plan.items:
        item: Item | None = first
        while item is not None:
            keys = [(item.item_id, sample, hash_of(item)) for sample in range(plan.n_samples)]
            yield item, keys
            complete = all(key in records for key in keys)
            item = plan.next_item(run, item, records[keys[0]]) if complete else None


def missing_completions(plan: Plan, run: Run, folder: Path, prompts: Prompts) -> Iterator[tuple[Item, int]]:
    """Items and sample numbers that no record of the run holds and whose prompts are known by now."""
    done = generation_records(folder, run)
    for item, keys in walk(plan, run, done, prompts.hash):
        for sample, key in enumerate(keys):
            if key not in done:
                yield item, sample


def announce_cost(plan: Plan, folder: Path) -> None:
    """Log what the answers of each endpoint are expected to cost, and refuse what max_cost forbids, before the first paid
    call. What has no price (a server of one's own) counts nothing."""
    budget = Budget(plan.options.max_cost, money_spent(folder))
    for run in plan.runs:
        if run.source != ENDPOINT:
            continue
        missing = [
            as_messages(item.prompt)
            for item, _ in missing_completions(plan, run, folder, Prompts(plan, run))
            for _ in range(1 + plan.suite.turns - item.turn)
        ]
        known = list(generation_records(folder, run).values())
        expected = estimate(missing, endpoint_options(run.name, plan.sampling), USUAL_ANSWER_TOKENS, known)
        if missing:
            logger.warning("%s: answers of %s: %s", plan.suite.name, run.label, expected.describe())
        if missing and expected.cost is not None:
            budget.check(expected, run.label, "answering")
            budget.committed += expected.cost


def complete(
    plan: Plan, run: Run, log: RecordLog, todo: Todo, generator: Any, prompts: Prompts, processes: Processes
) -> None:
    """Generate the completions of `todo` and record each as it comes."""
    from tqdm.auto import tqdm

    items = {item.item_id: item for item, _ in todo}
    too_long = items_without_room(generator, list(items.values()), plan.options.chat_template_kwargs)
    for item, sample in todo:
        if item.item_id in too_long:
            log.append(generation_record(plan, run, item, sample, prompts, Answer(0, "", "length", 0)))
    if too_long:
        logger.warning(
            "%s: the prompts of %d items fill the %d tokens of %s's context: no answer, counted as cut off",
            plan.suite.name,
            len(too_long),
            generator.max_positions,
            run.label,
        )
    todo = [(item, sample) for item, sample in todo if item.item_id not in too_long]
    batches: dict[SamplingParams, list[tuple[Item, int]]] = {}
    for item, sample in todo:
        # Stored outputs come in the order of `todo`, and nothing is drawn.
        sampling = plan.sampling if run.source == OUTPUTS else plan.sampling_of(item)
        batches.setdefault(sampling, []).append((item, sample))
    tokens = 0
    title = f"{plan.suite.name}: generate {run.label}"
    with tqdm(desc=title, total=len(todo), unit="ans", disable=not processes.is_main) as bar:
        for sampling, members in batches.items():
            seeds = [plan.seed(item, sample) for item, sample in members]
            for completion in generator.generate([item.prompt for item, _ in members], sampling, seeds):
                item, sample = members[completion.index]
                log.append(generation_record(plan, run, item, sample, prompts, completion))
                tokens += completion.n_tokens
                speed = tokens / max(bar.format_dict["elapsed"] or 0, 1e-9)
                bar.set_postfix_str(f"{speed:.0f} tokens/s", refresh=False)
                bar.update()


def generation_record(plan: Plan, run: Run, item: Item, sample: int, prompts: Prompts, completion: Any) -> Record:
    return {
        "item_id": item.item_id,
        "sample_index": sample,
        "seed": plan.seed(item, sample),
        "prompt_hash": prompts.hash(item),
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
        return EndpointGenerator(run.name, plan.options.concurrency, Budget(share, already))
    if run.source == OUTPUTS:
        outputs = plan.read_outputs(run)
        return StoredOutputs([outputs[item.item_id] for item, _ in todo])
    options = plan.load_options()
    if options.backend == "vllm":
        kwargs = options.vllm_kwargs or {}
        processes.claim_devices(kwargs.get("tensor_parallel_size", 1) * kwargs.get("pipeline_parallel_size", 1))
    return load_generator(plan.source(run), replace(options, device=processes.device(options.device)))


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
    """Every item, the further turns of its dialogue behind it, with its completions in order. Raises `InputError` if some
    are missing."""
    rendered = prompts_file(folder, run)
    if not rendered.is_file():
        raise InputError(f"nothing is generated for {run.name} in {folder} yet: run `alignkit eval generate` first")
    hashes = {item_id: prompt_hash(text) for item_id, text in read_json(rendered).items()}
    records = generation_records(folder, run)
    rows = list(walk(plan, run, records, lambda item: hashes.get(item.item_id)))
    missing = sum(key not in records for _, keys in rows for key in keys)
    if missing:
        total = len(plan.items) * plan.n_samples * plan.suite.turns
        raise InputError(
            f"{missing} of {total} completions of {run.name} are not in {folder / 'generations'}: run `alignkit eval "
            "generate` first"
        )
    return [(item, [records[key] for key in keys]) for item, keys in rows]
