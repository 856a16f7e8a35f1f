"""Arena-Hard in the judge stage: two games per prompt against the baseline of its category."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from alignkit.errors import InputError
from alignkit.judges.verdicts import without_thoughts

from ..items import Item
from ..judging.benchmark import (
    BASELINE_FIRST,
    CANDIDATE_FIRST,
    Figures,
    Game,
    JudgedBenchmark,
    JudgedRun,
    Messages,
    Verdict,
)
from ..options import EvalOptions
from ..records import write_atomically
from ..suites import Suite
from .official_files import PlayedGame, Question, answer_row, judgment_row, read_answers, read_questions
from .prompts import JudgePrompts
from .run_scoring import score_runs
from .sources import Sources
from .style import count_style
from .tokens import token_counter
from .verdicts import VERDICTS, parse_verdict
from .versions import V01, V2, Version


if TYPE_CHECKING:
    from alignkit.judges import Completion

ORDERS = (BASELINE_FIRST, CANDIDATE_FIRST)
# Asked where a first reply of v0.1's judge holds no label.
CONTINUE = "continue your judgment and finish by outputting a final verdict label"
REASONS = {"conflict": "conflicting", "unknown": "unknown label"}


class ArenaHard(JudgedBenchmark):
    """What both versions share; `version` says where they differ."""

    version: ClassVar[Version]
    completion_tokens = 800

    def __init__(self, suite: Suite, options: EvalOptions) -> None:
        super().__init__(suite, options)
        self.sources = Sources(self.version, options.data)

    @property
    def official_judge(self) -> dict[str, Any]:
        version = self.version
        return {
            "model": version.judge_model,
            "temperature": version.temperature,
            "max_tokens": version.max_tokens,
        }

    @cached_property
    def prompts(self) -> JudgePrompts:
        return self.sources.prompts()

    def load_items(self) -> tuple[list[Item], str]:
        """The questions that have a baseline answer. Raises `InputError` if none has."""
        path = self.sources.questions()
        questions = read_questions(path, self.version)
        answers: dict[str, dict[str, str]] = {}
        items = []
        missing = 0
        for question in questions:
            baseline = self.version.baseline(question.category)
            if baseline not in answers:
                answers[baseline] = self.baseline_answers(baseline)
            answer = answers[baseline].get(question.uid)
            if answer is None:
                missing += 1
                continue
            extra = {"category": question.category, "baseline": baseline, "baseline_answer": answer}
            items.append(
                Item(question.uid, [{"role": "user", "content": question.prompt}], "", question.groups, extra)
            )
        if not items:
            raise InputError(f"{path}: none of its {len(questions)} questions has a baseline answer")
        left_out = f" ({missing} of {len(questions)} questions left out: no baseline answer)" if missing else ""
        return items[: self.options.limit], f"{path}{left_out}"

    def baseline_answers(self, baseline: str) -> dict[str, str]:
        """A baseline's answers; empty where a folder given by the user lacks the file and the Hub is out of reach."""
        try:
            return read_answers(self.sources.answers(baseline))
        except InputError:
            if len(self.version.baselines) == 1 or not self.sources.folders:
                raise
            return {}

    def prompt_identity(self) -> Any:
        return {"version": self.version.key, "system": self.prompts.system, "template": self.prompts.template}

    def games(self, item: Item, answer: str, weighted: bool) -> list[Game]:
        del weighted  # the verdict is a label; there are no probabilities
        question, base, category = item.prompt[-1]["content"], self.baseline_answer(item), item.extra["category"]
        shown = ((base, answer), (answer, base))
        return [
            Game(item.item_id, order, self.prompts.messages(category, question, *pair))
            for order, pair in zip(ORDERS, shown, strict=True)
        ]

    def read(self, game: Game, reply: Completion, weighted: bool) -> Verdict:
        del weighted
        reading = parse_verdict(without_thoughts(reply.text), self.version)
        if reading.verdict is None:
            # Only a reply without any label is followed up; a contradiction stays null.
            return Verdict(None, error=REASONS.get(reading.reason), final=reading.reason != "missing")
        share, _ = VERDICTS[reading.verdict]
        return Verdict(share if game.order == CANDIDATE_FIRST else 1 - share, reading.verdict)

    def follow_up(self, game: Game, replies: Sequence[str]) -> Messages:
        messages = list(game.messages)
        for reply in replies:
            messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": CONTINUE}]
        return messages

    def baseline_name(self, item: Item) -> str:
        return item.extra["baseline"]

    def baseline_answer(self, item: Item) -> str:
        return item.extra["baseline_answer"]

    def identical(self, item: Item, answer: str) -> bool:
        """The official code judges equal answers like any others."""
        return False

    def read_outputs(self, path: str, items: Sequence[Item]) -> dict[str, str]:
        """Answers in the benchmark's own answer file."""
        answers = read_answers(Path(path).expanduser())
        lacking = [item.item_id for item in items if item.item_id not in answers]
        if lacking:
            raise InputError(
                f"{path} has no answer to question {lacking[0]} ({len(lacking)} of {len(items)} lack one)"
            )
        return {item.item_id: answers[item.item_id] for item in items}

    def score(self, runs: Sequence[JudgedRun]) -> list[Figures]:
        return score_runs(runs, self.version, self.options)

    def export(self, run: JudgedRun, judge: str, folder: Path) -> None:
        """`model_answer/` (the baselines' among them, for style control) and `model_judgment/` as in the benchmark's
        repository."""
        name = run.run.label.replace("/", "_")
        count, _ = token_counter(self.version)
        answers: dict[str, list[dict[str, Any]]] = {}
        judgments = []
        for row in run.rows:
            item = row.item
            question = Question(item.item_id, item.prompt[-1]["content"], item.extra["category"], item.groups)
            texts = {self.baseline_name(item): self.baseline_answer(item), name: row.answer}
            for model, text in texts.items():
                written = answer_row(self.version, question, model, text, count(text), count_style(text))
                answers.setdefault(model, []).append(written)
            records = {record["order"]: record for record in row.games}
            if records and not set(records) <= set(ORDERS):
                continue  # a judge of ours in its own words: nothing that the official file could hold
            games = {game.order: game for game in self.games(item, row.answer, False)}
            played = [
                PlayedGame(games[order].messages, records[order]["raw_text"], records[order]["verdict"])
                if order in records
                else None
                for order in ORDERS
            ]
            judgments.append(judgment_row(self.version, question, name, judge, played))
        tree = folder / "data" / self.version.folder
        for model, rows in answers.items():
            write_lines(tree / "model_answer" / f"{model}.jsonl", rows)
        if judgments:
            write_lines(tree / "model_judgment" / judge.replace("/", "_") / f"{name}.jsonl", judgments)


class ArenaHardV01(ArenaHard):
    """v0.1: 500 prompts against gpt-4-0314, judged by gpt-4-1106-preview."""

    version = V01
    attempts = V01.attempts


class ArenaHardV2(ArenaHard):
    """v2.0: 500 hard prompts against o3-mini and 250 of creative writing against gemini-2.0-flash."""

    version = V2
    attempts = V2.attempts


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
