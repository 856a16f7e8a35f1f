"""MT-Bench in the judge stage: every answer of a dialogue is an item of its own, rated by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.errors import InputError
from alignkit.judges.verdicts import without_thoughts

from ..items import Item
from ..judging.benchmark import ALONE, Figures, Game, JudgedBenchmark, JudgedItem, JudgedRun, Measure, Verdict
from ..options import EvalOptions
from ..records import write_atomically
from ..suites import Suite
from .official_files import Question, answer_row, judgment_row, read_answers, read_questions
from .prompts import REFERENCE_CATEGORIES, JudgePrompts, prompt_name
from .ratings import (
    DOUBLE_BRACKETS,
    HIGHEST,
    LOWEST,
    SINGLE_BRACKETS,
    UNREAD,
    Rating,
    number,
    parse_rating,
    rating_counts,
    rating_metrics,
    rating_notes,
)
from .sources import Sources


if TYPE_CHECKING:
    from alignkit.judges import Completion

# Where a question's reference answer is from; the last two are not as officially.
OFFICIAL, OWN, NONE = "reference answers", "the questions' own", "none"


class MTBench(JudgedBenchmark):
    """80 dialogues of two turns, judged by gpt-4. An item's `extra`: `question_id, turn, turns` (the user's texts),
    `reference` (a text per turn, or empty) and `reference_from`."""

    completion_tokens = 250
    pairwise = False
    measure = Measure("rating", "", 1.0, HIGHEST, (LOWEST + HIGHEST) / 2)

    def __init__(self, suite: Suite, options: EvalOptions) -> None:
        super().__init__(suite, options)
        self.sources = Sources(options.data)

    @property
    def official_judge(self) -> dict[str, Any]:
        return {"model": "gpt-4", "temperature": 0.0, "max_tokens": 2048}

    @cached_property
    def prompts(self) -> JudgePrompts:
        return self.sources.prompts()

    def load_items(self) -> tuple[list[Item], str]:
        """The first turn of every question."""
        questions = read_questions(self.sources.questions)[: self.options.limit]
        place = self.sources.references
        references = read_answers(place) if place else {}
        return [first_item(own, references.get(own.question_id)) for own in questions], str(self.sources.questions)

    def prompt_identity(self) -> Any:
        patterns = [DOUBLE_BRACKETS.pattern, SINGLE_BRACKETS.pattern]
        return {"prompts": {name: list(texts) for name, texts in self.prompts.texts.items()}, "patterns": patterns}

    def next_turn(self, item: Item, answer: str) -> Item | None:
        turns, turn = item.extra["turns"], item.turn + 1
        if turn > len(turns):
            return None
        asked = [{"role": "assistant", "content": answer}, {"role": "user", "content": turns[turn - 1]}]
        name = turn_name(item.extra["question_id"], turn)
        return Item(name, [*item.prompt, *asked], "", item.groups, {**item.extra, "turn": turn})

    def cluster(self, item: Item) -> str:
        return item.extra["question_id"]

    def games(self, item: Item, answer: str, weighted: bool) -> list[Game]:
        del weighted  # the rating is read; there are no probabilities
        extra, turn = item.extra, item.turn
        messages = self.prompts.messages(
            extra["turns"][:turn], [*earlier_answers(item), answer], extra["reference"][: len(extra["turns"])]
        )
        return [Game(item.item_id, ALONE, messages)]

    def read(self, game: Game, reply: Completion, weighted: bool) -> Verdict:
        del game, weighted
        found = parse_rating(without_thoughts(reply.text))
        if found is None:
            return Verdict(None)
        return Verdict(float(found[0]), *found)

    def baseline_name(self, item: Item) -> str:
        return ""

    def baseline_answer(self, item: Item) -> str:
        return ""

    def identical(self, item: Item, answer: str) -> bool:
        """There is no baseline: everything is judged."""
        return False

    def read_outputs(self, path: str, items: Sequence[Item]) -> dict[str, str]:
        """Answers in FastChat's answer file, by item id: the later turns' too."""
        answers = read_answers(Path(path).expanduser())
        outputs: dict[str, str] = {}
        for item in items:
            turns = answers.get(item.extra["question_id"], [])
            wanted = len(item.extra["turns"])
            if len(turns) < wanted:
                raise InputError(f"{path} has {len(turns)} answers to question {item.item_id}; it has {wanted} turns")
            names = [turn_name(item.extra["question_id"], turn) for turn in range(1, wanted + 1)]
            outputs |= dict(zip(names, turns, strict=False))
        return outputs

    def score(self, runs: Sequence[JudgedRun]) -> list[Figures]:
        return [self.figures(run) for run in runs]

    def figures(self, run: JudgedRun) -> Figures:
        """The figures of one model."""
        ratings = [rating_of(row) for row in run.rows]
        counts = rating_counts(ratings)
        single = sum(game["kind"] == "single" for row in run.rows for game in row.games)
        notes = [*reference_notes([row.item for row in run.rows]), *rating_notes(counts)]
        if single:
            notes.append(f"{single} ratings were read out of single brackets, as officially: `[7]` for `[[7]]`.")
        return Figures(
            headline="score",
            metrics=rating_metrics(ratings, self.options.num_resamples, self.options.confidence),
            item_values=[own.value for own in ratings],
            counts=counts,
            notes=notes,
            details={"intervals": "bootstrap over questions"},
        )

    def export(self, run: JudgedRun, judge: str, folder: Path) -> None:
        """`model_answer/` and `model_judgment/` as in FastChat's tree."""
        name = run.run.label.replace("/", "_")
        answers: dict[str, list[str]] = {}
        judgments = []
        for row in run.rows:
            item = row.item
            question = item.extra["question_id"]
            answers.setdefault(question, []).append(row.answer)
            for game, record in zip(self.games(item, row.answer, False), row.games, strict=False):
                score = UNREAD if record["score"] is None else number(record["verdict"])
                asked_by = judge, prompt_name(item.turn, item.extra["reference"])
                user_prompt, judgment = game.messages[-1]["content"], record["raw_text"]
                judgments.append(judgment_row(question, name, asked_by, user_prompt, judgment, score, item.turn))
        tree = folder / "data" / "mt_bench"
        rows = [answer_row(question, name, turns) for question, turns in answers.items()]
        write_lines(tree / "model_answer" / f"{name}.jsonl", rows)
        write_lines(tree / "model_judgment" / f"{judge.replace('/', '_')}_single.jsonl", judgments)


def first_item(question: Question, official: list[str] | None) -> Item:
    """The first turn of a question, with the reference answers of all its turns where its category needs them."""
    reference: list[str] = []
    place = ""
    if question.category in REFERENCE_CATEGORIES:
        enough = official is not None and len(official) >= len(question.turns)
        reference, place = (official or [], OFFICIAL) if enough else (question.reference, OWN)
        place = place if reference else NONE
    extra = {
        "question_id": question.question_id,
        "turn": 1,
        "turns": question.turns,
        "reference": reference,
        "reference_from": place,
    }
    name = turn_name(question.question_id, 1)
    asked = [{"role": "user", "content": question.turns[0]}]
    return Item(name, asked, "", {"category": question.category}, extra)


def turn_name(question_id: str, turn: int) -> str:
    """The item of one turn: 81, 81.2."""
    return question_id if turn == 1 else f"{question_id}.{turn}"


def earlier_answers(item: Item) -> list[str]:
    """The model's own answers to the turns before."""
    return [message["content"] for message in item.prompt if message["role"] == "assistant"]


def rating_of(row: JudgedItem) -> Rating:
    value = row.games[0]["score"] if row.games else None
    return Rating(row.item.extra["question_id"], row.item.turn, row.item.groups["category"], value)


def reference_notes(items: Sequence[Item]) -> list[str]:
    """Where questions that are held against a reference answer officially are not, or against another."""
    places = {item.extra["question_id"]: item.extra["reference_from"] for item in items}
    own, none = (sum(place == kind for place in places.values()) for kind in (OWN, NONE))
    notes = []
    if own:
        notes.append(
            f"{own} questions are held against the short reference answers of the question file, officially against "
            "those of reference_answer/gpt-4.jsonl, which is not there."
        )
    if none:
        notes.append(
            f"{none} questions are judged without a reference answer, officially with one: reference_answer/gpt-4.jsonl "
            "has none for them, or is not there."
        )
    return notes


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
