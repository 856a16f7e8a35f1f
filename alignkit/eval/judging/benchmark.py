"""What a judged benchmark declares. A suite file names its class under `benchmark: package.module:Class`.

A benchmark holds no state of a run: the same object says the games of every model, reads every reply and scores all
models together (so that a joint fit over models is possible).
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from alignkit.errors import InputError

from ..items import Item
from ..options import EvalOptions
from ..records import Record
from ..suites import Suite


if TYPE_CHECKING:
    from alignkit.judges import Completion, EndpointOptions

    from ..plan import Run

Messages = list[dict[str, Any]]

# The orders of a game: the baseline's answer is shown first, or the candidate's. A judge of ours that looks at both
# orders by itself (reward models, pair models, rules) writes one record per item with the third. The last is of benchmarks
# that rate an answer by itself.
BASELINE_FIRST, CANDIDATE_FIRST, BOTH, ALONE = "ab", "ba", "both", "alone"


@dataclass(frozen=True)
class Measure:
    """What the judge's scores measure, and how they are shown: times `factor`, followed by `unit`, on an axis from 0 to
    `top`; a score above `middle` is a good one."""

    name: str = "win rate"
    unit: str = " %"
    factor: float = 100.0
    top: float = 100.0
    middle: float = 0.5


@dataclass(frozen=True)
class Game:
    """One request to the judge about one item: the messages and which answer they show first.

    `messages` decide the reply together with the judge's sampling; both are hashed into the record's key.
    """

    item_id: str
    order: str
    messages: Messages


@dataclass(frozen=True)
class Verdict:
    """What a reply says.

    `score` is the benchmark's number: the probability that the *candidate* is better, or its rating; None
    is a null verdict, and `error` says why ("unparseable", "conflicting", ...). `label` is the verdict in the
    benchmark's own words ("A>>B", "m"); `kind` tells verdicts of unequal worth apart ("weighted", "discrete"). `final`: a
    null verdict that a further attempt must not change.
    """

    score: float | None
    label: str | None = None
    kind: str = ""
    error: str | None = None
    final: bool = False


@dataclass(frozen=True)
class JudgedItem:
    """An item with the candidate's answer and the final record of each of its games.

    `games` is empty where the benchmark plays none (identical answers) or, if the user allowed it, where the judge gave
    no reply. A record holds `order, score, label, kind, error, raw_text, top_logprobs, finish_reason, prompt_tokens,
    completion_tokens, cost`.
    """

    item: Item
    answer: str
    generation: Record
    games: list[Record]


@dataclass(frozen=True)
class JudgedRun:
    """One model's judged items, in the order of the plan's items; `engine_folder` is where the benchmark's own package
    worked, if it judged."""

    run: Run
    rows: list[JudgedItem]
    engine_folder: Path | None = None


@dataclass(frozen=True)
class Figures:
    """What a benchmark computes for one model.

    Attributes:
        headline: the name in `metrics` of the figure that the model is ranked by.
        metrics: name -> {"value": ..., "ci_low": ..., "ci_high": ..., and what else belongs to it}. Percent, as the
            benchmark reports it.
        item_values: per item, in the plan's order, the candidate's share of the win in [0, 1] (or its rating); None where
            there is no verdict. Group tables, paired differences and win-rate-by-length pictures are made of these.
        counts: whole numbers worth showing (wins, ties, nulls by kind, ...).
        notes: sentences the reader of the figures must know: fallbacks, deviations from the official set-up.
        leaderboard: rows {"name", "value", "own": bool} around the model's place on an official leaderboard.
        details: further JSON values for `results.json` (coefficients, weights, ...).
    """

    headline: str
    metrics: dict[str, dict[str, float]]
    item_values: list[float | None]
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    leaderboard: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


class JudgedBenchmark(ABC):
    """One benchmark. A subclass gives the official judge, the games, the reading of a reply and the figures.

    Attributes:
        attempts: replies that may be paid for until one holds a verdict.
        completion_tokens: expected length of a reply, for the cost estimate.
        pairwise: whether answers meet a baseline's; else each is rated by itself.
        measure: what the scores are.
    """

    attempts: ClassVar[int] = 1
    completion_tokens: ClassVar[int] = 1
    pairwise: ClassVar[bool] = True
    measure: ClassVar[Measure] = Measure()

    def __init__(self, suite: Suite, options: EvalOptions) -> None:
        self.suite = suite
        self.options = options

    @property
    @abstractmethod
    def official_judge(self) -> dict[str, Any]:
        """Fields of `EndpointOptions` (model, sampling, log-probabilities) of the official judge. What the user's judge
        file leaves open is taken from here."""

    @abstractmethod
    def load_items(self) -> tuple[list[Item], str]:
        """The items (`options.data`, `options.limit`) and the place they came from. `Item.extra` is the benchmark's:
        baseline answer, category and what else `games` and `score` need."""

    @abstractmethod
    def prompt_identity(self) -> Any:
        """What decides a verdict beside model, sampling and answers, as JSON: templates, parsing rules. Hashed into the
        judge's fingerprint."""

    @abstractmethod
    def games(self, item: Item, answer: str, weighted: bool) -> list[Game]:
        """The games about one item; empty where no call is needed. `weighted`: log-probabilities are asked for."""

    @abstractmethod
    def read(self, game: Game, reply: Completion, weighted: bool) -> Verdict:
        """The verdict in a reply. It must not raise, whatever the reply holds."""

    @abstractmethod
    def baseline_name(self, item: Item) -> str:
        """The model whose answer the candidate meets on this item; empty where answers are rated by themselves."""

    @abstractmethod
    def baseline_answer(self, item: Item) -> str:
        """That model's answer."""

    def next_turn(self, item: Item, answer: str) -> Item | None:
        """The item that follows in its dialogue once `answer` is given; None at its end."""
        return None

    def cluster(self, item: Item) -> str:
        """What is drawn as a whole in a bootstrap: items of one cluster are not independent."""
        return item.item_id

    def identical(self, item: Item, answer: str) -> bool:
        """Whether the answer is the baseline's own, so that no call is needed."""
        return answer == self.baseline_answer(item)

    def follow_up(self, game: Game, replies: Sequence[str]) -> Messages:
        """The messages of the next attempt after `replies` without a verdict; by default the same question again."""
        return game.messages

    def answer(self, text: str) -> str:
        """The answer as it is shown to the judge, from a completion made here."""
        return text.strip()

    def read_outputs(self, path: str, items: Sequence[Item]) -> dict[str, str]:
        """Answers in a file of the benchmark's own format, by item id; by default rows with `instruction, output`.
        Raises `InputError` for an item without one."""
        from ..answering import read_outputs

        return read_outputs(path, items)

    @abstractmethod
    def score(self, runs: Sequence[JudgedRun]) -> list[Figures]:
        """The figures of every model, in order."""

    def ask_officially(
        self, rows: Sequence[tuple[Item, str]], name: str, judge: EndpointOptions, folder: Path
    ) -> dict[str, Completion]:
        """Let the benchmark's own package judge the answers `rows` of the model `name`; the replies by item id.
        Raises `InputError` for a benchmark without such a package."""
        raise InputError(f"suite {self.suite.name} has no official engine: leave out --engine official")

    def export(self, run: JudgedRun, judge: str, folder: Path) -> None:  # noqa: B027  (a benchmark may have none)
        """Write the benchmark's official file formats of one model into `folder`, to submit or to compare them."""


def load_benchmark(suite: Suite, options: EvalOptions) -> JudgedBenchmark:
    """The benchmark of a judged suite."""
    module, name = suite.benchmark.split(":")
    return getattr(importlib.import_module(module), name)(suite, options)
