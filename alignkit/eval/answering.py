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
from alignkit.generation.prompts import is_token_ids

from .costs import Budget, prompt_tokens
from .fingerprints import digest, text_hash
from .items import Item, read_rows
from .judging.spec import PREFIX, parse_endpoint


if TYPE_CHECKING:
    from alignkit.judges import ChatEndpoint, EndpointOptions

logger = logging.getLogger(__name__)

WEIGHTS, ENDPOINT, OUTPUTS = "weights", "endpoint", "outputs"
OUTPUT_SUFFIXES = (".json", ".jsonl", ".jsonl.gz", ".json.gz")
CONCURRENCY = 16
# Tokens of a usual answer: those of stored Arena-Hard answers are 330 to 660 in the mean.
USUAL_ANSWER_TOKENS = 500


@dataclass(frozen=True)
class Answer:
    """One completion, as `alignkit.generation.Generation` without its tokens; `prompt_tokens` and `cost` of an endpoint's."""

    index: int
    text: str
    finish_reason: str
    n_tokens: int
    prompt_tokens: int | None = None
    cost: float | None = None


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
    """Answers prompts through an endpoint, many at once; yields them as they come.

    Args:
        name: the endpoint.
        concurrency: most requests in flight; None: the endpoint's own.
        budget: what may be spent.
    """

    def __init__(self, name: str, concurrency: int | None, budget: Budget) -> None:
        self.name = name
        self.concurrency = concurrency
        self.budget = budget

    def generate(self, prompts: Sequence[Prompt], sampling: SamplingParams, seeds: Sequence[int]) -> Iterator[Answer]:
        """Yield an `Answer` per prompt. Raises `InputError` at the end if some got no reply (the others are yielded), or
        where the budget ends. An interrupt (Ctrl-C) lets the requests in flight come home first."""
        options = endpoint_options(self.name, sampling)
        options = replace(options, max_concurrency=self.concurrency) if self.concurrency else options
        options.key()  # refused here, not in the thread
        asking = Asking(options, prompts, self.budget)
        thread = threading.Thread(target=asking.run, daemon=True, name="asking")
        thread.start()
        interrupted = False
        try:
            while True:
                try:
                    answer = asking.arrived.get()
                except KeyboardInterrupt:
                    if interrupted:
                        raise
                    logger.warning("stopping: the requests in flight are waited for; once more to abort")
                    interrupted = True
                    asking.stop.set()
                    continue
                if answer is None:
                    break
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
        finally:
            asking.stop.set()
            thread.join()
        if interrupted:
            raise KeyboardInterrupt
        if asking.out_of_money:
            raise InputError(
                f"{self.name} was stopped at max_cost {self.budget.limit:g} ({self.budget.committed:.2f} spent): what is "
                "answered is kept; raise --max_cost and run the same command again"
            )
        if asking.failures:
            raise InputError(
                f"{self.name} gave no reply to {sum(asking.failures.values())} of {len(prompts)} prompts "
                f"({dict(asking.failures)}): run the same command again to ask for these alone"
            )

    def close(self) -> None:
        """Nothing is held."""


class Asking:
    """Asks an endpoint for every prompt, in a thread of its own; the answers come into `arrived`.

    `arrived` ends with None, after an exception where no request can succeed. `stop` ends it early.
    """

    def __init__(self, options: EndpointOptions, prompts: Sequence[Prompt], budget: Budget) -> None:
        self.options = options
        self.prompts = prompts
        self.budget = budget
        self.arrived: queue.Queue[Answer | BaseException | None] = queue.Queue()
        self.failures: Counter[str] = Counter()
        self.stop = threading.Event()
        self.out_of_money = False
        self.usual_completion = min(USUAL_ANSWER_TOKENS, options.max_tokens or USUAL_ANSWER_TOKENS)

    def run(self) -> None:
        """The thread."""
        try:
            asyncio.run(self.ask_all())
        except BaseException as error:
            self.arrived.put(error)
        self.arrived.put(None)

    async def ask_all(self) -> None:
        from alignkit.judges import ChatEndpoint

        waiting = iter(enumerate(self.prompts))
        async with ChatEndpoint(self.options) as endpoint:
            workers = min(self.options.max_concurrency, len(self.prompts))
            await asyncio.gather(*(self.work(endpoint, waiting) for _ in range(workers)))

    async def work(self, endpoint: ChatEndpoint, waiting: Iterator[tuple[int, Prompt]]) -> None:
        from alignkit.judges import EndpointFailure

        for index, prompt in waiting:
            messages = as_messages(prompt)
            expected = self.options.cost(round(prompt_tokens(messages)), self.usual_completion)
            if self.stop.is_set():
                return
            if not self.budget.take(expected):
                self.out_of_money = True
                self.stop.set()
                return
            try:
                reply = await endpoint.complete(messages)
            except EndpointFailure as failure:
                self.budget.settle(expected, None)
                self.failures[failure.kind] += 1
                logger.warning("prompt %d (from 0): %s", index, failure)
                continue
            self.budget.settle(expected, reply.cost)
            reason = "length" if reply.finish_reason == "length" else "stop"
            self.arrived.put(
                Answer(index, reply.text, reason, reply.completion_tokens, reply.prompt_tokens, reply.cost)
            )


def as_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """A prompt as an endpoint takes it. Raises `InputError` for one that is given as tokens."""
    if is_token_ids(prompt):
        raise InputError("an endpoint takes messages, not tokens")
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [*prompt]


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
