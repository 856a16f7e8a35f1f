"""Models that answer without weights here: behind an OpenAI-compatible endpoint, or long ago, into a file.

`endpoint:MODEL[@URL]` and `FILE.yaml` (fields of `EndpointOptions`) are asked; the outputs in a `.json`, `.jsonl` or
`.jsonl.gz` file are taken as they are, joined by instruction (or as the benchmark joins its own format).
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.errors import InputError
from alignkit.generation import Prompt, SamplingParams

from .fingerprints import digest, text_hash
from .items import Item, read_rows
from .judging.spec import PREFIX, parse_endpoint


if TYPE_CHECKING:
    from alignkit.judges import EndpointOptions

logger = logging.getLogger(__name__)

WEIGHTS, ENDPOINT, OUTPUTS = "weights", "endpoint", "outputs"
OUTPUT_SUFFIXES = (".json", ".jsonl", ".jsonl.gz", ".json.gz")
CONCURRENCY = 16


@dataclass(frozen=True)
class Answer:
    """One completion, as `alignkit.generation.Generation` without its tokens."""

    index: int
    text: str
    finish_reason: str
    n_tokens: int


def source_kind(name: str) -> str:
    """What a model name stands for: weights, an endpoint or a file of outputs."""
    if name.startswith(PREFIX) or name.endswith((".yaml", ".yml")):
        return ENDPOINT
    return OUTPUTS if name.endswith(OUTPUT_SUFFIXES) and Path(name).expanduser().is_file() else WEIGHTS


def display_name(name: str) -> str:
    """A model name as it is shown: an endpoint's model, a file's name without its ending."""
    if name.startswith(PREFIX):
        return parse_endpoint(name)["model"]
    if source_kind(name) == WEIGHTS:
        return name
    ending = next(own for own in sorted((*OUTPUT_SUFFIXES, ".yaml", ".yml"), key=len)[::-1] if name.endswith(own))
    return name.removesuffix(ending)


def render_messages(prompt: Prompt) -> str:
    """The prompt of a model whose template we do not see: its messages."""
    return json.dumps(prompt, sort_keys=True)


def endpoint_options(name: str, sampling: SamplingParams) -> EndpointOptions:
    """The endpoint of a generating model: its file's or name's fields, with our sampling where they leave it open."""
    from alignkit.judges import EndpointOptions
    from alignkit.judges.spec import read_spec

    given = parse_endpoint(name) if name.startswith(PREFIX) else read_spec(Path(name).expanduser())
    sampled = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_new_tokens}
    if sampling.top_k:
        raise InputError(f"top_k is {sampling.top_k}, which {name} cannot be told: put it into extra_body of a file")
    try:
        return EndpointOptions(**{"max_concurrency": CONCURRENCY, **sampled, **given})
    except TypeError as error:
        raise InputError(f"{name}: {error}") from error


def fingerprint_endpoint(name: str, sampling: SamplingParams) -> str:
    """Changes with model, address and request fields; not with the key."""
    options = endpoint_options(name, sampling)
    return digest([options.base_url, options.sampling()])


class EndpointGenerator:
    """Answers prompts through an endpoint, many at once; yields them as they come."""

    def __init__(self, name: str, sampling: SamplingParams, concurrency: int | None) -> None:
        options = endpoint_options(name, sampling)
        self.name = name
        self.options = replace(options, max_concurrency=concurrency) if concurrency else options

    def generate(self, prompts: Sequence[Prompt], sampling: SamplingParams, seeds: Sequence[int]) -> Iterator[Answer]:
        """Yield an `Answer` per prompt. Raises `InputError` at the end if some got no reply (the others are yielded)."""
        self.options.key()  # refused here, not in the thread
        arrived: queue.Queue[Answer | BaseException | None] = queue.Queue()
        failures: Counter[str] = Counter()
        stop = threading.Event()
        thread = threading.Thread(
            target=lambda: run_asking(self.options, prompts, arrived, failures, stop), daemon=True, name="asking"
        )
        thread.start()
        try:
            while (answer := arrived.get()) is not None:
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
        finally:
            stop.set()
            thread.join()
        if failures:
            raise InputError(
                f"{self.name} gave no reply to {sum(failures.values())} of {len(prompts)} prompts ({dict(failures)}): "
                "run the same command again to ask for these alone"
            )

    def close(self) -> None:
        """Nothing is held."""


def run_asking(
    options: EndpointOptions,
    prompts: Sequence[Prompt],
    arrived: queue.Queue[Any],
    failures: Counter[str],
    stop: threading.Event,
) -> None:
    """Ask for every prompt and put the answers into `arrived`; None at the end, an exception where all must fail."""
    try:
        asyncio.run(ask_prompts(options, prompts, arrived, failures, stop))
    except BaseException as error:
        arrived.put(error)
    arrived.put(None)


async def ask_prompts(
    options: EndpointOptions,
    prompts: Sequence[Prompt],
    arrived: queue.Queue[Any],
    failures: Counter[str],
    stop: threading.Event,
) -> None:
    from alignkit.judges import ChatEndpoint, EndpointFailure

    waiting = iter(enumerate(prompts))

    async def work(endpoint: ChatEndpoint) -> None:
        for index, prompt in waiting:
            if stop.is_set():
                return
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            try:
                reply = await endpoint.complete(messages)
            except EndpointFailure as failure:
                failures[failure.kind] += 1
                logger.warning("prompt %d (from 0): %s", index, failure)
                continue
            reason = "length" if reply.finish_reason == "length" else "stop"
            arrived.put(Answer(index, reply.text, reason, reply.completion_tokens))

    async with ChatEndpoint(options) as endpoint:
        await asyncio.gather(*(work(endpoint) for _ in range(min(options.max_concurrency, len(prompts)))))


def read_outputs(path: str, items: Sequence[Item]) -> dict[str, str]:
    """Outputs of a file by item id: rows with `item_id` and `output`, or `instruction` and `output`.

    Raises `InputError` naming the first item without an output: dropping it in silence would change the figures.
    """
    by_instruction = {item.prompt[-1]["content"]: item.item_id for item in items}
    outputs: dict[str, str] = {}
    for number, row in enumerate(read_rows(Path(path).expanduser())):
        output = row.get("output")
        if not isinstance(output, str):
            raise InputError(f"{path}, row {number} (from 0): output is {output!r}; it must be text")
        item_id = str(row["item_id"]) if "item_id" in row else by_instruction.get(row.get("instruction", ""))
        if item_id is not None:
            outputs[item_id] = output
    missing = [item for item in items if item.item_id not in outputs]
    if missing:
        raise InputError(
            f"{path} has no output for {len(missing)} of {len(items)} items, the first: "
            f"{missing[0].prompt[-1]['content'][:60]!r} (instructions are compared character by character)"
        )
    return outputs


class StoredOutputs:
    """The outputs of a file in the place of a generator."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def generate(self, prompts: Sequence[Prompt], sampling: SamplingParams, seeds: Sequence[int]) -> Iterator[Answer]:
        for index, text in enumerate(self.texts):
            yield Answer(index, text, "stop", 0)

    def close(self) -> None:
        """Nothing is held."""


def fingerprint_file(path: str) -> str:
    return text_hash(Path(path).expanduser().read_bytes())
