"""The benchmark's own files: questions, model answers and judgments, in the formats of both versions.

questions   v2.0 {uid, category, subcategory, prompt}; v0.1 the same with cluster, or {question_id, category, cluster,
            turns: [{content}]}
answers     v2.0 {uid, ans_id, model, messages: [user, assistant: {content: {answer}}], tstamp, metadata}; v0.1
            {question_id, answer_id, model_id, choices: [{index, turns: [{content, token_len}]}], tstamp}; read also
            {uid | question_id, model, answer}
judgments   v2.0 {uid, category, judge, model, baseline, games: [{score, judgment: {answer}, prompt}]}; v0.1
            {question_id, model, judge, games: [{user_prompt, judgment, score}]}
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from ..fingerprints import digest
from ..items import read_rows
from .stored_files import text_field
from .versions import V01, Version


@dataclass(frozen=True)
class Question:
    """One prompt; `groups` holds its category and what finer name the file has for it (subcategory or cluster)."""

    uid: str
    prompt: str
    category: str
    groups: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlayedGame:
    """One game as the judgment file records it: its messages, the reply (None: none came) and the verdict."""

    messages: list[dict[str, Any]]
    reply: str | None
    verdict: str | None


def read_questions(path: Path, version: Version) -> list[Question]:
    """The questions in the order of the file."""
    questions = []
    seen = set()
    for index, row in enumerate(read_rows(path)):
        where = f"{path}, row {index} (from 0)"
        uid = text_field(row, ("uid", "question_id"), where)
        if uid in seen:
            raise InputError(f"{where}: question {uid} occurs twice")
        seen.add(uid)
        prompt = row.get("prompt")
        if prompt is None and isinstance(turns := row.get("turns"), list) and turns and isinstance(turns[0], dict):
            prompt = turns[0].get("content")
        if not isinstance(prompt, str) or not prompt:
            raise InputError(f"{where}: prompt is {prompt!r:.60}; it must be text (or the first of turns)")
        category = str(row.get("category") or version.headline)
        version.baseline(category)
        groups = {name: str(row[name]) for name in ("category", "subcategory", "cluster") if row.get(name)}
        questions.append(Question(uid, prompt, category, groups))
    if not questions:
        raise InputError(f"{path} holds no questions")
    return questions


def read_answers(path: Path) -> dict[str, str]:
    """A model's answers by question."""
    answers = {}
    for index, row in enumerate(read_rows(path)):
        where = f"{path}, row {index} (from 0)"
        text = answer_text(row)
        if text is None:
            raise InputError(f"{where}: it holds no answer (messages, choices or answer)")
        answers[text_field(row, ("uid", "question_id"), where)] = text
    return answers


def answer_text(row: dict[str, Any]) -> str | None:
    """The answer in a row of any of the formats."""
    try:
        if "messages" in row:
            content = row["messages"][-1]["content"]
            text = content["answer"] if isinstance(content, dict) else content
        elif "choices" in row:
            text = row["choices"][0]["turns"][0]["content"]
        else:
            text = row.get("answer")
    except (KeyError, IndexError, TypeError):
        return None
    return text if isinstance(text, str) else None


def answer_row(
    version: Version, question: Question, model: str, answer: str, tokens: int, counts: dict[str, dict[str, int]]
) -> dict[str, Any]:
    """A line of the official answer file. The id is a hash of the content, and `tstamp` is left at 0: equal runs write
    equal files."""
    name = digest([version.key, question.uid, model, answer])
    if version is V01:
        return {
            "question_id": question.uid,
            "answer_id": name,
            "model_id": model,
            "choices": [{"index": 0, "turns": [{"content": answer, "token_len": tokens}]}],
            "tstamp": 0.0,
            "conv_metadata": {"token_len": tokens, **counts},
        }
    return {
        "uid": question.uid,
        "ans_id": name,
        "model": model,
        "messages": [
            {"role": "user", "content": question.prompt},
            {"role": "assistant", "content": {"answer": answer}},
        ],
        "tstamp": 0.0,
        "metadata": {"token_len": tokens, **counts},
    }


def judgment_row(
    version: Version, question: Question, model: str, judge: str, games: Sequence[PlayedGame | None]
) -> dict[str, Any]:
    """A line of the official judgment file; None for a game without a reply."""
    if version is V01:
        return {
            "question_id": question.uid,
            "model": model,
            "judge": judge,
            "games": [
                {
                    "user_prompt": game.messages[-1]["content"] if game else "",
                    "judgment": (game.reply or "") if game else "",
                    "score": game.verdict if game else None,
                }
                for game in games
            ],
        }
    return {
        "uid": question.uid,
        "category": question.category,
        "judge": judge,
        "model": model,
        "baseline": version.baseline(question.category),
        "games": [
            {"score": game.verdict, "judgment": {"answer": game.reply or ""}, "prompt": game.messages}
            if game
            else None
            for game in games
        ],
    }
