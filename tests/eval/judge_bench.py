"""A small AlpacaEval 2 with a judge on this machine: instructions, outputs, judge files and the judge's behaviours."""

import hashlib
import json
import math
from collections import Counter
from pathlib import Path

from fake_endpoint import Reply


KEY = "sk-never-to-be-written-0123456789"
PRICES = {"gpt-4-1106-preview": {"prompt": 10.0, "completion": 30.0}}


def write_reference(path: Path, count: int) -> str:
    """A baseline file of `count` instructions."""
    rows = [
        {
            "instruction": f"instruction number {number}: say something",
            "output": f"baseline answer {number} " + "x" * (7 * number % 61),
            "generator": "gpt4_1106_preview",
            "dataset": "even" if number % 2 == 0 else "odd",
        }
        for number in range(count)
    ]
    path.write_text(json.dumps(rows))
    return str(path)


def write_outputs(path: Path, reference: str, name: str = "candidate") -> str:
    """A model's outputs for every instruction of a baseline file."""
    rows = json.loads(Path(reference).read_text())
    outputs = [
        {**row, "output": f"{name} answer {number} " + "y" * (11 * number % 83), "generator": name}
        for number, row in enumerate(rows)
    ]
    path.write_text(json.dumps(outputs))
    return str(path)


def write_judge(path: Path, base_url: str, **fields) -> str:
    """A judge file for the server at `base_url`."""
    spec = {
        "judge": "llm",
        "model": "gpt-4-1106-preview",
        "base_url": base_url,
        "api_key_env": "JUDGE_KEY",
        "backoff": 0.01,
        "max_backoff": 0.05,
        "timeout": 10,
        "prices": PRICES,
        **fields,
    }
    path.write_text(json.dumps(spec))
    return str(path)


def chance(text: str) -> float:
    """A number in (0, 1) that a text decides."""
    return (int(hashlib.sha256(text.encode()).hexdigest(), 16) % 9998 + 1) / 10_000


def weighted(user: str, before: int = 0) -> Reply:
    """The official judge's kind of reply: one letter, with log-probabilities."""
    p = chance(user)
    listed = {"m": math.log(p), "M": math.log(1 - p), "Both": -15.0}
    return Reply("m" if p > 0.5 else "M", finish_reason="length", logprobs=listed, tokens=(900, 1))


class Moody:
    """A judge with every fault there is; what it says in the end about a question does not depend on them.

    `answered` counts the replies with content, by question. Some questions are answered with other letters, some
    without log-probabilities: those are verdicts (or none) of their kind for good.
    """

    def __init__(self, slow: float = 0.02, hang: float = 0.0) -> None:
        self.slow = slow
        self.hang = hang
        self.answered: Counter[str] = Counter()

    def __call__(self, user: str, before: int) -> Reply:
        mood = int(chance("mood" + user) * 20)
        if before == 0:
            if mood == 0:
                return Reply(status=429, headers={"Retry-After": "0.02"}, body="slow down")
            if mood == 1:
                return Reply(status=500, body="oops")
            if mood == 2 and self.hang:
                return Reply(delay=self.hang)
            if mood == 3:
                return Reply(body="{not json")
            if mood == 4:
                return Reply(body='{"choices": []}')
        self.answered[user] += 1
        reply = weighted(user)
        if mood == 5:
            reply = Reply("x", logprobs={"x": -0.1, "y": -3.0}, tokens=(900, 1))
        if mood == 6:
            reply = Reply("M", tokens=(900, 1))
        reply.delay = self.slow * chance("slow" + user)
        return reply


def records(folder: Path) -> list[dict]:
    """Every complete judgment record under an output folder."""
    lines = [line for file in Path(folder).glob("judgments/*.jsonl") for line in file.read_bytes().splitlines(True)]
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def as_openai(user: str, before: int = 0, favourite: str | None = None) -> Reply:
    """`weighted` with every field that OpenAI's own client reads; `favourite`: answers with that text mostly win."""
    reply = weighted(user, before)
    if favourite is not None:
        share = 0.6 + 0.39 * chance(user)
        first = share if user.index(favourite) < user.index("baseline answer") else 1 - share
        reply.logprobs = {"m": math.log(first), "M": math.log(1 - first)}
    content = json.loads(reply.encoded())
    content["usage"]["total_tokens"] = sum(reply.tokens)
    content |= {"id": "reply", "object": "chat.completion", "created": 0, "model": "gpt-4-1106-preview"}
    content["choices"][0]["index"] = 0
    return Reply(body=json.dumps(content), headers={"Content-Type": "application/json"})
