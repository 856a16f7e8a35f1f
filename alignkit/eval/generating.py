"""Stage 1: completions. Writes `prompts/<run>.json` and `generations/<run>.jsonl`; what is there is not made again."""

import json
import logging
from pathlib import Path

from alignkit.errors import InputError
from alignkit.generation import load_generator, load_tokenizer, prompt_hash, render_prompt

from .items import Item
from .plan import Plan, Run, read_json
from .records import Record, RecordLog, write_atomically


logger = logging.getLogger(__name__)


def generate_stage(plan: Plan, folder: Path) -> None:
    """Generate every completion of the plan that is not on disk yet. A model with nothing to do is not loaded."""
    for run in plan.runs:
        generate_run(plan, run, folder)


def generate_run(plan: Plan, run: Run, folder: Path) -> None:
    """Generate the missing completions of one model."""
    from tqdm.auto import tqdm

    options = plan.load_options()
    source = plan.source(run)
    tokenizer = load_tokenizer(source, options.chat_template, options.trust_remote_code)
    prompts = {
        item.item_id: render_prompt(tokenizer, item.prompt, options.chat_template_kwargs) for item in plan.items
    }
    logger.info("the first prompt as %s reads it:\n%s", run.label, prompts[plan.items[0].item_id])
    write_atomically(prompts_file(folder, run), json.dumps(prompts, indent=0) + "\n")
    hashes = {item_id: prompt_hash(text) for item_id, text in prompts.items()}
    with generation_log(folder, run) as log:
        todo = [
            (item, sample)
            for item in plan.items
            for sample in range(plan.n_samples)
            if (item.item_id, sample, hashes[item.item_id]) not in log
        ]
        total = len(plan.items) * plan.n_samples
        logger.info("%s: %d of %d completions are there", run.label, total - len(todo), total)
        if not todo:
            return
        generator = load_generator(source, options)
        seeds = [plan.seed(item, sample) for item, sample in todo]
        completions = generator.generate([item.prompt for item, _ in todo], plan.sampling, seeds)
        tokens = 0
        with tqdm(
            completions, desc=f"generate {run.label}", total=total, initial=total - len(todo), unit="ans"
        ) as bar:
            for completion in bar:
                item, sample = todo[completion.index]
                log.append(
                    {
                        "item_id": item.item_id,
                        "sample_index": sample,
                        "seed": seeds[completion.index],
                        "prompt_hash": hashes[item.item_id],
                        "text": completion.text,
                        "finish_reason": completion.finish_reason,
                        "n_tokens": completion.n_tokens,
                        "model": run.name,
                        "fingerprint": run.fingerprint,
                        "model_fingerprint": run.model_fingerprint,
                    }
                )
                tokens += completion.n_tokens
                bar.set_postfix_str(f"{tokens / max(bar.format_dict['elapsed'], 1e-9):.0f} tokens/s", refresh=False)
        generator.close()


def prompts_file(folder: Path, run: Run) -> Path:
    """The prompts of the plan's items as the model of a run reads them."""
    return folder / "prompts" / f"{run.fingerprint}.json"


def generation_log(folder: Path, run: Run) -> RecordLog:
    """The records of one run."""
    path = folder / "generations" / f"{run.fingerprint}.jsonl"
    return RecordLog(path, lambda record: (record["item_id"], record["sample_index"], record["prompt_hash"]))


def read_generations(plan: Plan, run: Run, folder: Path) -> list[tuple[Item, list[Record]]]:
    """Every item with its completions in order. Raises `InputError` if some are missing."""
    rendered = prompts_file(folder, run)
    if not rendered.is_file():
        raise InputError(f"nothing is generated for {run.name} in {folder} yet: run `alignkit eval generate` first")
    hashes = {item_id: prompt_hash(text) for item_id, text in read_json(rendered).items()}
    log = generation_log(folder, run)
    keys = [
        [(item.item_id, sample, hashes.get(item.item_id)) for sample in range(plan.n_samples)] for item in plan.items
    ]
    missing = sum(key not in log for row in keys for key in row)
    if missing:
        total = len(plan.items) * plan.n_samples
        raise InputError(
            f"{missing} of {total} completions of {run.name} are not in {log.path}: run `alignkit eval generate` first"
        )
    return [(item, [log[key] for key in row]) for item, row in zip(plan.items, keys, strict=True)]
