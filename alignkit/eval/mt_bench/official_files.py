"""FastChat's own files.

questions   {question_id, category, turns: [text, text][, reference: [text, text]]}; the Hub's copy (HuggingFaceH4/
            mt_bench_prompts) {prompt_id, category, prompt: [text, text], reference} is read too
answers     {question_id, answer_id, model_id, choices: [{index, turns: [text, text]}], tstamp}, the reference answers
            among them
judgments   {question_id, model, judge: [name, prompt], user_prompt, judgment, score, turn, tstamp}
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from alignkit.errors import InputError

from ..fingerprints import digest
from ..items import read_rows
from .ratings import TURNS, UNREAD, Rating


# The 80 questions are numbered by category, ten each.
FIRST_QUESTION, PER_CATEGORY = 81, 10
CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
TURN_LIMIT = len(TURNS)


@dataclass(frozen=True)
class Question:
    """One dialogue: the user's one or two texts, and reference answers where the file has them."""

    question_id: str
    category: str
    turns: list[str]
    reference: list[str]


@dataclass(frozen=True)
class Judged:
    """A line of a judgment file: who judged whom."""

    model: str
    judge: str
    rating: Rating


def read_questions(path: Path) -> list[Question]:
    """The questions in the order of the file. Raises `InputError` naming row and field of what is malformed."""
    questions: dict[str, Question] = {}
    for index, row in enumerate(read_rows(path)):
        where = f"{path}, row {index} (from 0)"
        name = question_id(row, where)
        if name in questions:
            raise InputError(f"{where}: question {name} occurs twice")
        turns = row.get("turns", row.get("prompt"))
        if not is_texts(turns) or not 1 <= len(turns) <= TURN_LIMIT or not all(turns):
            raise InputError(f"{where}: turns is {turns!r:.60}; it must be a list of one or two texts")
        category = row.get("category")
        if not isinstance(category, str) or not category:
            raise InputError(f"{where}: category is {category!r}; it must be text, such as {CATEGORIES[0]}")
        questions[name] = Question(name, category, turns, texts(row.get("reference"), len(turns)))
    if not questions:
        raise InputError(f"{path} holds no questions")
    return list(questions.values())


def read_answers(path: Path) -> dict[str, list[str]]:
    """A model's answers, or the reference answers, by question: one text per turn (the first choice's)."""
    answers = {}
    for index, row in enumerate(read_rows(path)):
        where = f"{path}, row {index} (from 0)"
        try:
            turns = row["choices"][0]["turns"]
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(f"{where}: it holds no answer under choices[0].turns") from error
        if not isinstance(turns, list) or not turns:
            raise InputError(f"{where}: choices[0].turns is {turns!r:.60}; it must be a list of texts")
        answers[question_id(row, where)] = [str(turn) for turn in turns]
    return answers


def read_judgments(path: Path, categories: dict[str, str]) -> list[Judged]:
    """The ratings of a judgment file. `categories`: the category by question; the benchmark's own numbering holds for a
    question that it lacks. Raises `InputError` naming row and field of what is malformed."""
    found = []
    for index, row in enumerate(read_rows(path)):
        where = f"{path}, row {index} (from 0)"
        name, judge = question_id(row, where), row.get("judge")
        judge = judge[0] if isinstance(judge, list) and judge else judge
        model, judge = name_field("model", row.get("model"), where), name_field("judge", judge, where)
        score, turn = row.get("score"), row.get("turn")
        if isinstance(score, bool) or not isinstance(score, int | float) or score != score:
            raise InputError(f"{where}: score is {score!r}; it must be a number, {UNREAD} where nothing was read")
        if turn not in tuple(TURNS):
            raise InputError(f"{where}: turn is {turn!r}; it must be 1 or 2")
        value = None if score == UNREAD else float(score)
        category = categories.get(name) or usual_category(name)
        found.append(Judged(model, judge, Rating(name, turn, category, value)))
    if not found:
        raise InputError(f"{path} holds no judgments")
    return found


def usual_category(question: str) -> str:
    """The category of one of the benchmark's 80 questions, by its number; empty for any other."""
    place = (int(question) - FIRST_QUESTION) // PER_CATEGORY if question.isdecimal() else -1
    return CATEGORIES[place] if 0 <= place < len(CATEGORIES) else ""


def answer_row(question: str, model: str, turns: Sequence[str]) -> dict[str, Any]:
    """A line of an answer file. The id is a hash of the content, and `tstamp` is left at 0: equal runs write equal
    files."""
    return {
        "question_id": as_number(question),
        "answer_id": digest([question, model, list(turns)]),
        "model_id": model,
        "choices": [{"index": 0, "turns": list(turns)}],
        "tstamp": 0.0,
    }


def judgment_row(
    question: str,
    model: str,
    judge: tuple[str, str],
    user_prompt: str,
    judgment: str,
    score: int | float,
    turn: int,
) -> dict[str, Any]:
    """A line of a judgment file; `judge` is the judge's name and its prompt's."""
    return {
        "question_id": as_number(question),
        "model": model,
        "judge": list(judge),
        "user_prompt": user_prompt,
        "judgment": judgment,
        "score": score,
        "turn": turn,
        "tstamp": 0.0,
    }


def question_id(row: dict[str, Any], where: str) -> str:
    value = row.get("question_id", row.get("prompt_id"))
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise InputError(f"{where}: question_id is {value!r}; it must be a number or a name")
    return str(value)


def name_field(field: str, value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: {field} is {value!r}; it must be a name")
    return value


def as_number(question: str) -> int | str:
    return int(question) if question.isdecimal() else question


def is_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(own, str) for own in value)


def texts(value: Any, count: int) -> list[str]:
    """`value` if it is a text for each turn, else nothing."""
    return value if is_texts(value) and len(value) >= count and value[0] else []
