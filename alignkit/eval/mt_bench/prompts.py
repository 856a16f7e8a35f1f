"""The judge's prompts, read from FastChat's `judge_prompts.jsonl`: {name, type, system_prompt, prompt_template, ...}."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import InputError
from alignkit.judges.templates import fill

from ..items import read_rows


# Categories whose answers are held against a reference answer (FastChat's `NEED_REF_CATS`).
REFERENCE_CATEGORIES = ("math", "reasoning", "coding", "arena-hard-200")
# The prompt for (held against a reference, turn), and the fields that its template must have.
NAMES = {
    (False, 1): "single-v1",
    (True, 1): "single-math-v1",
    (False, 2): "single-v1-multi-turn",
    (True, 2): "single-math-v1-multi-turn",
}
FIELDS = {
    (False, 1): ("question", "answer"),
    (True, 1): ("question", "answer", "ref_answer_1"),
    (False, 2): ("question_1", "question_2", "answer_1", "answer_2"),
    (True, 2): ("question_1", "question_2", "answer_1", "answer_2", "ref_answer_1", "ref_answer_2"),
}


@dataclass(frozen=True)
class JudgePrompts:
    """System prompt and template by name; `place` says where they were read."""

    texts: dict[str, tuple[str, str]]
    place: str

    def messages(
        self, questions: Sequence[str], answers: Sequence[str], reference: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The messages about the last of `answers`; `reference` is empty where there is none."""
        system, template = self.texts[prompt_name(len(answers), reference)]
        values = {f"ref_answer_{turn}": text for turn, text in enumerate(reference, 1)}
        if len(answers) == 1:
            values |= {"question": questions[0], "answer": answers[0]}
        else:
            values |= {f"question_{turn}": text for turn, text in enumerate(questions, 1)}
            values |= {f"answer_{turn}": text for turn, text in enumerate(answers, 1)}
        return [{"role": "system", "content": system}, {"role": "user", "content": fill(template, **values)}]


def prompt_name(turn: int, reference: Sequence[str]) -> str:
    """The name of the prompt about the answer of a turn."""
    return NAMES[bool(reference), turn]


def read_prompts(path: Path) -> JudgePrompts:
    """The four prompts. Raises `InputError` naming one that is missing or lacks a field."""
    rows = {row.get("name"): row for row in read_rows(path)}
    found = {}
    for kind, name in NAMES.items():
        row = rows.get(name)
        if row is None:
            raise InputError(f"{path}: there is no prompt {name}: it holds {', '.join(sorted(map(str, rows)))}")
        system, template = row.get("system_prompt"), row.get("prompt_template")
        if not isinstance(system, str):
            raise InputError(f"{path}: system_prompt of {name} is {system!r}; it must be text")
        missing = [own for own in FIELDS[kind] if not isinstance(template, str) or f"{{{own}}}" not in template]
        if missing:
            raise InputError(f"{path}: prompt_template of {name} lacks the field {{{missing[0]}}}")
        found[name] = system, str(template)
    return JudgePrompts(found, str(path))
