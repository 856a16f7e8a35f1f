"""Many requests at once, each paid for once: bounded concurrency over a cache that survives kill -9."""

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from alignkit.errors import InputError

from .conversations import digest
from .endpoint import ChatEndpoint, Completion, EndpointFailure, EndpointOptions
from .records import RecordLog
from .stats import JudgeStats


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """One thing to ask: what decides the reply (`content`, hashed into the key) and what is noted beside it."""

    content: Any
    messages: list[dict[str, Any]]
    notes: dict[str, Any] = field(default_factory=dict)


# What is read out of a reply: a number, or a number for each of several answers.
Value = float | list[float]


@dataclass
class Answered:
    """What the cache knows of one key: replies paid for, and the value of the last, or why it has none."""

    replies: int = 0
    value: Value | None = None
    error: str | None = None


class PaidReplies:
    """Asks an endpoint and reads a value out of each reply; every reply is in the cache before it is used.

    The cache is an append-only JSONL file with one record per reply (or final failure): `key, judge, raw_text,
    top_logprobs, finish_reason, score, prompt_tokens, completion_tokens, cost, error, time` and the question's notes.
    A reply without a value in it ("unparseable", "empty", "truncated", "filtered") was paid for too: it counts as one
    of the `attempts`, now and after a restart. A failure without a reply is asked again at the next run.

    Args:
        options: the endpoint.
        judge: fingerprint of what decides a reply besides the question; part of every key.
        read: the value in a reply to a question, or None.
        attempts: replies that may be paid for per question until one holds a value.
        cache: path of the JSONL file; None keeps the replies in memory only.
        stats: where calls, hits, failures, tokens and cost are counted.
    """

    def __init__(
        self,
        options: EndpointOptions,
        judge: str,
        read: Callable[[Completion, Question], Value | None],
        attempts: int,
        cache: str | os.PathLike[str] | None,
        stats: JudgeStats,
    ) -> None:
        if attempts < 1:
            raise InputError(f"attempts is {attempts}: it must be at least 1")
        self.options = options
        self.judge = judge
        self.read = read
        self.attempts = attempts
        self.stats = stats
        self.log = RecordLog(cache)
        self._known: dict[str, Answered] | None = None

    def values(self, questions: Sequence[Question], description: str = "Judging") -> list[Any]:
        """The value of each question, NaN where there is none; equal questions are asked once."""
        known = self._load()
        keys = [digest([self.judge, question.content]) for question in questions]
        distinct = dict(zip(keys, questions, strict=True))
        open_ = {key: question for key, question in distinct.items() if self._is_open(known.get(key))}
        self.stats.cache_hits += len(distinct) - len(open_)
        failed = {key: known[key].error or "unparseable" for key in distinct if key not in open_ and known[key].error}
        try:
            if open_:
                failed |= run_async(lambda: self._ask_all(open_, description))
        finally:
            self.log.close()
        for kind in failed.values():
            self.stats.failures[kind] += 1
        if failed:
            logger.warning("%d of %d judgements failed: %s", len(failed), len(distinct), dict(self.stats.failures))
        found = {key: known[key].value for key in distinct if key in known}
        return [math.nan if (value := found.get(key)) is None else value for key in keys]

    def _is_open(self, answered: Answered | None) -> bool:
        return answered is None or (answered.value is None and answered.replies < self.attempts)

    def _load(self) -> dict[str, Answered]:
        if self._known is None:
            self._known = {}
            for record in self.log:
                if record.get("judge") == self.judge and record.get("raw_text") is not None:
                    self._note(record)
        return self._known

    def _note(self, record: dict[str, Any]) -> None:
        assert self._known is not None
        answered = self._known.setdefault(record["key"], Answered())
        answered.replies += 1
        answered.value, answered.error = record["score"], record["error"]

    async def _ask_all(self, questions: dict[str, Question], description: str) -> dict[str, str]:
        """Ask all `questions`; return the kind of failure of those that ended without a value."""
        from tqdm import tqdm

        failed: dict[str, str] = {}
        waiting = iter(questions.items())
        async with ChatEndpoint(self.options) as endpoint:
            with tqdm(total=len(questions), desc=description, unit="call") as bar:

                async def work() -> None:
                    for key, question in waiting:
                        kind = await self._ask_one(endpoint, key, question)
                        if kind is not None:
                            failed[key] = kind
                        bar.update()

                workers = [
                    asyncio.create_task(work()) for _ in range(min(self.options.max_concurrency, len(questions)))
                ]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
                    self.stats.calls += endpoint.calls
                    self.stats.retries += endpoint.retries
        return failed

    async def _ask_one(self, endpoint: ChatEndpoint, key: str, question: Question) -> str | None:
        """Ask until a reply holds a value or the attempts are used up; return the kind of failure, if any."""
        assert self._known is not None
        answered = self._known.get(key, Answered())
        while self._is_open(answered):
            record = {"key": key, "judge": self.judge, "model": self.options.model, **question.notes}
            try:
                reply = await endpoint.complete(question.messages)
            except EndpointFailure as failure:
                self.log.append(
                    {**record, "raw_text": None, "score": None, "error": failure.kind, "detail": failure.detail}
                )
                return failure.kind
            value = self.read(reply, question)
            record |= {
                "raw_text": reply.text,
                "top_logprobs": reply.top_logprobs,
                "finish_reason": reply.finish_reason,
                "score": value,
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
                "cost": reply.cost,
                "error": None if value is not None else why_unusable(reply),
                "time": round(time.time(), 3),
            }
            self.log.append(record)
            self._note(record)
            self._count(reply)
            answered = self._known[key]
        return answered.error

    def _count(self, reply: Completion) -> None:
        self.stats.prompt_tokens += reply.prompt_tokens
        self.stats.completion_tokens += reply.completion_tokens
        if reply.cost is None:
            self.stats.unpriced_calls += 1
        else:
            self.stats.cost += reply.cost


def why_unusable(reply: Completion) -> str:
    """The kind of a reply without a value."""
    if reply.finish_reason == "length":
        return "truncated"
    if reply.finish_reason == "content_filter":
        return "filtered"
    return "unparseable" if reply.text.strip() else "empty"


def run_async(make: Callable[[], Any]) -> Any:
    """Run the coroutine that `make` returns to its end, also where a loop runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(make())).result()


def messages_for(user: str, system_prompt: str | None) -> list[dict[str, Any]]:
    """A system message, where there is one, and a user message."""
    system: Iterable[dict[str, Any]] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": user}]
