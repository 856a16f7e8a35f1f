"""What endpoints cost, for answers and for judging: an estimate before the first paid call, and the sum over what is on
disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.errors import InputError

from .records import Record, RecordLog
from .suites import SUITES_FILE


if TYPE_CHECKING:
    from alignkit.judges import EndpointOptions

Messages = list[dict[str, Any]]

CHARACTERS_PER_TOKEN = 4.0


@dataclass(frozen=True)
class Spent:
    """Tokens and money of answered requests; `unpriced` of them have no known price."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0


@dataclass(frozen=True)
class Estimate:
    """The expected tokens and price of requests that are still to be sent; `cost` is None without a known price."""

    calls: int
    prompt_tokens: float
    completion_tokens: float
    cost: float | None

    def describe(self) -> str:
        price = "price unknown" if self.cost is None else f"about {self.cost:.2f}"
        return (
            f"{self.calls} calls, about {self.prompt_tokens:,.0f} prompt and {self.completion_tokens:,.0f} completion "
            f"tokens, {price}"
        )


def spent(records: Iterable[Record]) -> Spent:
    """The sum over records of replies or answers of an endpoint; what cost nothing has no `prompt_tokens`."""
    paid = [record for record in records if record.get("prompt_tokens") is not None]
    return Spent(
        calls=len(paid),
        prompt_tokens=sum(record["prompt_tokens"] for record in paid),
        completion_tokens=sum(int(record.get("completion_tokens") or record.get("n_tokens") or 0) for record in paid),
        cost=sum(record["cost"] or 0.0 for record in paid),
        unpriced=sum(record["cost"] is None for record in paid),
    )


def money_spent(folder: Path) -> float:
    """What all records of an output folder cost, of all its suites, whichever model or judge they are of."""
    root = folder.parent if (folder.parent / SUITES_FILE).exists() else folder
    places = ("generations", "judgments")
    files = [path for place in places for path in root.glob(f"**/{place}/*.jsonl")]
    numbers = itertools.count()
    records = (record for path in files for record in RecordLog(path, lambda _: next(numbers)).records.values())
    return sum(record.get("cost") or 0.0 for record in records)


def estimate(
    prompts: Sequence[Messages], options: EndpointOptions, completion_tokens: float, known: Sequence[Record]
) -> Estimate:
    """Expected tokens: characters / 4, and the usual reply, or its mean over the records in `known`."""
    prompt = sum(prompt_tokens(messages) for messages in prompts)
    mean = expected_completion(spent(known), options, completion_tokens)
    cost = options.cost(round(prompt), round(mean * len(prompts)))
    return Estimate(len(prompts), prompt, mean * len(prompts), cost)


def expected_completion(paid: Spent, options: EndpointOptions, usual: float) -> float:
    """Expected tokens of one reply."""
    mean = paid.completion_tokens / paid.calls if paid.calls else usual
    return mean if options.max_tokens is None else min(mean, options.max_tokens)


def prompt_tokens(messages: Messages) -> float:
    return sum(len(str(message["content"])) for message in messages) / CHARACTERS_PER_TOKEN


class Budget:
    """A ceiling on the money of an evaluation, over all its runs.

    Args:
        limit: the ceiling; None for none.
        already: what the records of the output folder cost.
    """

    def __init__(self, limit: float | None, already: float) -> None:
        self.limit = limit
        self.committed = already

    def check(self, expected: Estimate, model: str, work: str = "judging") -> None:
        """Refuse, before the first call, what is expected to cost more than is left."""
        if self.limit is None:
            return
        if expected.cost is None:
            raise InputError(
                f"max_cost is {self.limit:g}, but the price of {model} is not known: give `prices` in the judge file, "
                f"as in prices: {{{model}: {{prompt: 10, completion: 30}}}} (per million tokens)"
            )
        if self.committed + expected.cost > self.limit:
            raise InputError(
                f"{work} is expected to cost {expected.cost:.2f} ({expected.describe()}) and {self.committed:.2f} is "
                f"spent, above max_cost {self.limit:g}: raise --max_cost, or take fewer items with --limit"
            )

    def take(self, expected: float | None) -> bool:
        """Set the expected price of one call aside; False where the ceiling forbids it."""
        if self.limit is None:
            return True
        if self.committed + (expected or 0.0) > self.limit:
            return False
        self.committed += expected or 0.0
        return True

    def settle(self, expected: float | None, cost: float | None) -> None:
        """Replace an expected price by the real one."""
        self.committed += (cost or 0.0) - (expected or 0.0)
