"""A little Arena-Hard of our own: questions, baseline answers and judge prompts in the layout of the official tree."""

import hashlib
import json
from pathlib import Path

from fake_endpoint import Reply

from alignkit.eval.arena_hard.battles import Game
from alignkit.eval.arena_hard.style import Style
from alignkit.eval.arena_hard.verdicts import VERDICTS


TEMPLATE = "Q: {QUESTION} | A: {ANSWER_A} | B: {ANSWER_B}"
HARD, CREATIVE = "o3-mini-2025-01-31", "gemini-2.0-flash-001"
LABELS = list(VERDICTS)
UTILS = f'''
OG = "Judge this. " "Answer first."
OTHER = """Judge
this."""
JUDGE_SETTINGS = {{
    "hard_prompt": {{"baseline": "{HARD}", "system_prompt": OG}},
    "creative_writing": {{"baseline": "{CREATIVE}", "system_prompt": OTHER}},
    "arena-hard-v0.1": {{"baseline": "gpt-4-0314", "system_prompt": OG}},
}}
'''


def lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_tree(root: Path, hard: int = 3, creative: int = 2) -> Path:
    """Both versions with a few questions each, as the benchmark's repository has them."""
    rows = [
        {
            "uid": f"{category[0]}{place}",
            "category": category,
            "subcategory": "coding" if category == "hard_prompt" else category,
            "prompt": f"{category} question {place} with {{braces}}",
        }
        for category, count in (("hard_prompt", hard), ("creative_writing", creative))
        for place in range(count)
    ]
    new = root / "data" / "arena-hard-v2.0"
    lines(new / "question.jsonl", rows)
    for name in (HARD, CREATIVE):
        lines(
            new / "model_answer" / f"{name}.jsonl",
            [
                {"uid": row["uid"], "model": name, "messages": [{"content": {"answer": f"{name} on {row['uid']}"}}]}
                for row in rows
            ],
        )
    old = root / "data" / "arena-hard-v0.1"
    questions = [{"question_id": f"q{place}", "turns": [{"content": f"old {place}"}]} for place in range(hard)]
    lines(old / "question.jsonl", questions)
    lines(
        old / "model_answer" / "gpt-4-0314.jsonl",
        [
            {"question_id": row["question_id"], "choices": [{"turns": [{"content": f"base {row['question_id']}"}]}]}
            for row in questions
        ],
    )
    for name, text in (
        ("utils/judge_utils.py", UTILS),
        ("config/arena-hard-v2.0.yaml", "prompt_template: " + json.dumps(TEMPLATE)),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


def write_outputs(path: Path, uids: list[str], word: str = "candidate") -> Path:
    """A model's answer file."""
    return lines(path, [{"uid": uid, "model": word, "answer": f"{word} on {uid}"} for uid in uids])


def label_of(user: str) -> str:
    """A verdict that depends on nothing but the question and the answers shown."""
    return LABELS[hashlib.sha256(user.encode()).digest()[0] % len(LABELS)]


def any_verdict(user: str, before: int = 0) -> Reply:
    return Reply(f"My own answer ... My final verdict is: [[{label_of(user)}]]", tokens=(900, 300))


def random_games(rng, models: list[str], questions: int, null: float = 0.0) -> list[Game]:
    """Games with verdicts drawn at random, a share of them null."""
    return [
        Game(
            model,
            f"q{place}",
            tuple(None if rng.random() < null else LABELS[rng.integers(len(LABELS))] for _ in range(2)),
        )
        for model in models
        for place in range(questions)
    ]


def random_styles(rng, models: list[str], questions: int) -> dict[tuple[str, str], Style]:
    return {
        (model, f"q{place}"): Style(*(int(value) for value in rng.integers(1, (900, 9, 30, 20))))
        for model in models
        for place in range(questions)
    }
