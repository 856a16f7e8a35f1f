"""A little MT-Bench of our own in FastChat's tree: questions, reference answers, judge prompts, and a judge."""

import hashlib
import json
from pathlib import Path

from fake_endpoint import Reply


# Our own words under the names and with the fields of FastChat's prompts.
PROMPTS = {
    "single-v1": ("plain", "Q: {question} | A: {answer}"),
    "single-math-v1": ("maths", "Q: {question} | R: {ref_answer_1} | A: {answer}"),
    "single-v1-multi-turn": ("plain 2", "Q1: {question_1} | A1: {answer_1} | Q2: {question_2} | A2: {answer_2}"),
    "single-math-v1-multi-turn": (
        "maths 2",
        "Q1: {question_1} | R1: {ref_answer_1} | Q2: {question_2} | R2: {ref_answer_2} | A1: {answer_1} | A2: {answer_2}",
    ),
}
CATEGORIES = {81: "writing", 91: "roleplay", 111: "math", 141: "stem", 131: "extraction"}


def lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def questions() -> list[dict]:
    """A question of each of five categories, in the order of the file."""
    return [
        {
            "question_id": number,
            "category": category,
            "turns": [f"{category} first with {{braces}}", f"{category} second"],
            **({"reference": ["short 1", "short 2"]} if category == "math" else {}),
        }
        for number, category in CATEGORIES.items()
    ]


def write_tree(root: Path, references: bool = True) -> Path:
    """A clone of the repository, as far as the benchmark reads it."""
    tree = root / "fastchat" / "llm_judge" / "data"
    lines(tree / "mt_bench" / "question.jsonl", questions())
    prompts = [{"name": name, "system_prompt": own[0], "prompt_template": own[1]} for name, own in PROMPTS.items()]
    lines(tree / "judge_prompts.jsonl", prompts)
    if references:
        answers = [{"question_id": 111, "choices": [{"index": 0, "turns": ["official 1", 2000]}]}]
        lines(tree / "mt_bench" / "reference_answer" / "gpt-4.jsonl", answers)
    return root


def write_answers(path: Path, word: str = "candidate") -> Path:
    """A model's answer file."""
    rows = [
        {
            "question_id": number,
            "answer_id": f"a{number}",
            "model_id": word,
            "choices": [{"index": 0, "turns": [f"{word} one on {number}", f"{word} two on {number}"]}],
            "tstamp": 1.5,
        }
        for number in CATEGORIES
    ]
    return lines(path, rows)


def rating_of(user: str) -> int:
    """A rating that depends on nothing but what the judge is shown."""
    return 1 + hashlib.sha256(user.encode()).digest()[0] % 10


def any_rating(user: str, before: int = 0) -> Reply:
    return Reply(f"Well done in parts. Rating: [[{rating_of(user)}]]", tokens=(600, 120))
