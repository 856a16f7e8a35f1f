"""Many games at once: bounded concurrency, every reply on disk before the next question of its game, a clean stop.

What is guaranteed: a reply that is on disk is never asked for again. An interrupt (Ctrl-C, SIGTERM) lets the requests
in flight come home and be recorded, so each game is judged exactly once; after kill -9 the requests that were in flight,
at most `max_concurrency`, are asked again, since nobody has their replies.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignkit.errors import InputError
from alignkit.judges import ChatEndpoint, Completion, EndpointFailure, EndpointOptions
from alignkit.judges.replies import why_unusable

from ..costs import Budget, prompt_tokens
from ..records import Record, RecordLog
from .benchmark import Game, JudgedBenchmark


logger = logging.getLogger(__name__)

# So many failures and not one reply: the judge does not work here, and asking on would only cost time.
GIVE_UP_AFTER = 20
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class OpenGame:
    """A game without a verdict: its key, what is noted beside its replies, and the replies that were paid for."""

    game: Game
    key: str
    notes: Record
    replies: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of the games: failures without a reply by kind; whether money or an interrupt ended it early."""

    answered: int = 0
    nulls: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    last_failure: str = ""
    retries: Counter[str] = field(default_factory=Counter)
    out_of_money: bool = False
    interrupted: bool = False


class Asker:
    """Plays open games against an endpoint and appends a record per reply to `log`."""

    def __init__(
        self,
        benchmark: JudgedBenchmark,
        options: EndpointOptions,
        log: RecordLog,
        budget: Budget,
        description: str,
        done: int,
        expected_completion: float,
    ) -> None:
        self.benchmark = benchmark
        self.options = options
        self.log = log
        self.budget = budget
        self.description = description
        self.done = done
        self.expected_completion = expected_completion
        self.outcome = Outcome()
        self.stop = False
        self.cost = 0.0

    async def play(self, games: Sequence[OpenGame]) -> Outcome:
        """Play all `games`. Raises `InputError` where no request can succeed."""
        from tqdm import tqdm

        waiting = iter(games)
        total = self.done + len(games)
        async with ChatEndpoint(self.options) as endpoint:
            with tqdm(total=total, initial=self.done, desc=self.description, unit="game") as bar, CatchSignals(self):
                workers = [
                    asyncio.create_task(self._work(endpoint, waiting, bar))
                    for _ in range(min(self.options.max_concurrency, len(games)))
                ]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
                    self.outcome.retries += endpoint.retries
        return self.outcome

    async def _work(self, endpoint: ChatEndpoint, waiting: Iterator[OpenGame], bar: Any) -> None:
        for open_game in waiting:
            if self.stop:
                return
            await self._play_one(endpoint, open_game)
            bar.update()
            price = f"cost {self.cost:.3f}, " if self.cost else ""
            bar.set_postfix_str(f"{price}{self.outcome.nulls} null", refresh=False)

    async def _play_one(self, endpoint: ChatEndpoint, open_game: OpenGame) -> None:
        """Ask until a reply holds a verdict or the attempts are used up."""
        game, replies = open_game.game, open_game.replies
        while len(replies) < self.benchmark.attempts:
            messages = self.benchmark.follow_up(game, replies) if replies else game.messages
            expected = self.options.cost(round(prompt_tokens(messages)), round(self.expected_completion))
            if not self.budget.take(expected):
                self.outcome.out_of_money = self.stop = True
                return
            try:
                reply = await endpoint.complete(messages)
            except EndpointFailure as failure:
                self.budget.settle(expected, None)
                self._note_failure(open_game, failure)
                return
            self.budget.settle(expected, reply.cost)
            self.cost += reply.cost or 0.0
            record = reply_record(self.benchmark, open_game, reply, self.options.top_logprobs is not None)
            self.log.append(record)
            self.outcome.answered += 1
            replies.append(reply.text)
            if record["score"] is not None:
                return
            if record["final"]:
                break
        self.outcome.nulls += 1

    def _note_failure(self, open_game: OpenGame, failure: EndpointFailure) -> None:
        """Count a request without a reply; nothing is recorded, so the next run asks again."""
        self.outcome.failures[failure.kind] += 1
        self.outcome.last_failure = failure.detail
        if not self.outcome.answered and sum(self.outcome.failures.values()) >= GIVE_UP_AFTER:
            raise InputError(
                f"the judge {self.options.model} at {self.options.base_url} answered none of "
                f"{GIVE_UP_AFTER} requests ({dict(self.outcome.failures)}); the last: {failure.detail}"
            )
        logger.info("item %s: %s", open_game.game.item_id, failure)


def reply_record(benchmark: JudgedBenchmark, open_game: OpenGame, reply: Completion, weighted: bool) -> Record:
    """What is written of one reply."""
    verdict = benchmark.read(open_game.game, reply, weighted)
    error = verdict.error or why_unusable(reply)
    return {
        **open_game.notes,
        "key": open_game.key,
        "attempt": len(open_game.replies),
        "order": open_game.game.order,
        "raw_text": reply.text,
        "top_logprobs": reply.top_logprobs,
        "finish_reason": reply.finish_reason,
        "verdict": verdict.label,
        "kind": verdict.kind,
        "score": verdict.score,
        "error": None if verdict.score is not None else error,
        "final": verdict.final,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cost": reply.cost,
        "time": round(time.time(), 3),
    }


class CatchSignals:
    """While open, the first SIGINT or SIGTERM stops new requests; those in flight come home. A second one aborts."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.caught: list[int] = []

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            try:
                loop.add_signal_handler(number, self._stop, number)
                self.caught.append(number)
            except (NotImplementedError, RuntimeError, ValueError):  # not the main thread, or no such signals here
                continue

    def _stop(self, number: int) -> None:
        if self.asker.stop:
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.raise_signal(number)
            return
        self.asker.stop = self.asker.outcome.interrupted = True
        logger.warning("stopping: the requests in flight are waited for; once more to abort")

    def __exit__(self, *exception: object) -> None:
        for number in self.caught:
            asyncio.get_running_loop().remove_signal_handler(number)
