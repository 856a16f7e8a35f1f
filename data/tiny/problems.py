"""Small arithmetic word problems: the text that the bundled model learns from and is measured on.

Pure Python on a seeded `random.Random`, so a rerun gives the same bytes on every machine. A problem belongs to
exactly one split, decided by a checksum of its numbers and operators (never of its wording), so the same sum can
not be trained on in one sentence and tested in another.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass


NAMES = ("Ana", "Ben", "Eva", "Kim", "Leo", "Mia", "Sam", "Tom")
ITEMS = ("pens", "cups", "eggs", "keys", "nuts", "caps")
# What happens, by operators. One- and two-step problems; the intermediate results are never negative.
STORIES = {
    "+": ("{n} has {a} {i} and buys {b}.", "{n} has {a} {i} and finds {b}."),
    "-": ("{n} has {a} {i} and sells {b}.", "{n} has {a} {i} and loses {b}."),
    "++": ("{n} has {a} {i}, buys {b} and finds {c}.", "{n} has {a} {i}, finds {b} and buys {c}."),
    "+-": ("{n} has {a} {i}, buys {b} and sells {c}.", "{n} has {a} {i}, finds {b} and loses {c}."),
    "-+": ("{n} has {a} {i}, sells {b} and buys {c}.", "{n} has {a} {i}, loses {b} and finds {c}."),
    "--": ("{n} has {a} {i}, sells {b} and loses {c}.", "{n} has {a} {i}, loses {b} and sells {c}."),
}
# How the question ends decides how often the pre-training text shows its work, so greedy decoding starts out in the
# worked style after one ending and in the terse style after the other, and sampling gives both styles everywhere.
ENDINGS = {"How many?": 0.7, "Total?": 0.3}
LARGEST = 50
# checksum % 10 -> split; the bundled data sets other than math_eval draw from "align".
SPLITS = {"eval": (0,), "align": (1, 2, 3), "pretrain": (4, 5, 6, 7, 8, 9)}


@dataclass(frozen=True)
class Problem:
    """One problem: `numbers` (2 or 3), `operators` (1 or 2 of + and -), its wording and its worked share."""

    numbers: tuple[int, ...]
    operators: str
    text: str
    worked_share: float

    @property
    def key(self) -> str:
        """The arithmetic alone, e.g. `23+45-12`: equal for all wordings of the same problem."""
        rest = "".join(f"{op}{number}" for op, number in zip(self.operators, self.numbers[1:], strict=True))
        return f"{self.numbers[0]}{rest}"

    @property
    def steps(self) -> list[str]:
        """One line per operation, e.g. `["23+45=68", "68-12=56"]`."""
        lines, value = [], self.numbers[0]
        for op, number in zip(self.operators, self.numbers[1:], strict=True):
            result = value + number if op == "+" else value - number
            lines.append(f"{value}{op}{number}={result}")
            value = result
        return lines

    @property
    def answer(self) -> str:
        return self.steps[-1].split("=")[1]

    @property
    def worked(self) -> str:
        """The step-by-step answer: one line per operation, then the box."""
        return "\n".join([*self.steps, self.terse])

    @property
    def terse(self) -> str:
        return f"\\boxed{{{self.answer}}}"


def split_of(key: str) -> str:
    """The split that owns the arithmetic `key`."""
    bucket = zlib.crc32(key.encode()) % 10
    return next(name for name, buckets in SPLITS.items() if bucket in buckets)


def draw_problem(rng: random.Random, split: str) -> Problem:
    """One random word problem of `split`."""
    while True:
        operators = rng.choice(tuple(STORIES))
        numbers = tuple(rng.randint(1, LARGEST) for _ in range(len(operators) + 1))
        problem = Problem(numbers, operators, "", 0.0)
        if split_of(problem.key) == split and all(not step.split("=")[1].startswith("-") for step in problem.steps):
            break
    ending = rng.choice(tuple(ENDINGS))
    story = rng.choice(STORIES[operators])
    a, b, c = (*numbers, 0)[:3]
    text = story.format(n=rng.choice(NAMES), i=rng.choice(ITEMS), a=a, b=b, c=c)
    return Problem(numbers, operators, f"{text} {ending}", ENDINGS[ending])


def draw_distinct(seed: int, count: int, split: str, taken: set[str] | None = None) -> list[Problem]:
    """`count` word problems of `split` with pairwise different arithmetic, none of it in `taken` (which grows)."""
    rng = random.Random(seed)
    taken = set() if taken is None else taken
    problems: list[Problem] = []
    while len(problems) < count:
        problem = draw_problem(rng, split)
        if problem.key not in taken:
            taken.add(problem.key)
            problems.append(problem)
    return problems


def draw_answer(rng: random.Random, problem: Problem) -> str:
    """A right answer in a random style: worked with probability `worked_share`, else terse."""
    return problem.worked if rng.random() < problem.worked_share else problem.terse
