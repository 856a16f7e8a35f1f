"""The bundled data sets, made from problems and from the model's own samples."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from tiny.problems import Problem
from tiny.sampling import boxed_answer


# A noisy scalar reward: right answers score higher by 5 on average. Margins lie mostly in 0..9, so tau = 7 cuts off
# the clearest pairs only, and labels drawn from the margin are wrong now and then.
REWARD_OF_RIGHT = 5.0
REWARD_NOISE = 1.5
# Brevity is minus the length in units of four characters: a worked answer costs as much as being right earns.
CHARACTERS_PER_UNIT = 4
EVEN_PAIR_SHARE = 0.12
# What the prompts of the two tasks end in.
TASKS = {"worked": "Show steps.", "terse": "Number only."}

Row = dict[str, Any]


def user(problem: Problem) -> list[dict[str, str]]:
    return [{"role": "user", "content": problem.text}]


def assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def math_row(problem: Problem) -> Row:
    """A verifiable problem: `prompt`, gold `answer` and the step-by-step `solution`."""
    return {"prompt": user(problem), "answer": problem.answer, "solution": problem.worked}


def task_rows(problems: Sequence[Problem]) -> list[Row]:
    """Problems of two tasks in turn, each asked for in the prompt: worked solutions, and the bare answer.

    `baseline_completion` is what the task asks for: all steps, or the box alone.
    """
    rows = []
    for index, problem in enumerate(problems):
        task = tuple(TASKS)[index % len(TASKS)]
        prompt = [{"role": "user", "content": f"{problem.text} {TASKS[task]}"}]
        baseline = problem.worked if task == "worked" else f"\\boxed{{{problem.answer}}}"
        rows.append({"prompt": prompt, "task": task, "answer": problem.answer, "baseline_completion": baseline})
    return rows


def sft_row(problem: Problem) -> Row:
    return {"prompt": user(problem), "completion": assistant(problem.worked)}


def is_right(problem: Problem, completion: str) -> bool:
    return boxed_answer(completion) == problem.answer


def preference_rows(problems: Sequence[Problem], samples: Sequence[Sequence[str]], count: int) -> list[Row]:
    """At most `count` pairs, one per problem: a right answer against a wrong sample of the model.

    The right answer is the model's own where it sampled one, else the worked solution. Problems without a wrong
    sample are skipped.
    """
    rows: list[Row] = []
    for problem, texts in zip(problems, samples, strict=True):
        right = next((text for text in texts if is_right(problem, text)), problem.worked)
        wrong = next((text for text in texts if not is_right(problem, text)), None)
        if wrong is not None:
            rows.append({"prompt": user(problem), "chosen": assistant(right), "rejected": assistant(wrong)})
    return rows[:count]


def brevity(text: str) -> float:
    return -len(text) / CHARACTERS_PER_UNIT


def scored_rows(problems: Sequence[Problem], samples: Sequence[Sequence[str]], count: int, seed: int) -> list[Row]:
    """At most `count` pairs labelled by a noisy scalar reward.

    reward = 5 if right else 0, plus normal noise; the winner of (1, 2) is 1 with probability
    sigmoid(reward_1 - reward_2) (Bradley-Terry), and `reward_margin` is the winner's reward minus the loser's, so it
    is negative where the draw went against the reward.
    """
    rng = random.Random(seed)
    rows: list[Row] = []
    for problem, first, second in scored_pairs(rng, problems, samples):
        pair = [(text, float(is_right(problem, text))) for text in (first, second)]
        rewards = [REWARD_OF_RIGHT * right + rng.gauss(0.0, REWARD_NOISE) for _, right in pair]
        first_wins = rng.random() < 1 / (1 + math.exp(rewards[1] - rewards[0]))
        winner, loser = (0, 1) if first_wins else (1, 0)
        (chosen, chosen_right), (rejected, rejected_right) = pair[winner], pair[loser]
        rows.append(
            {
                "prompt": user(problem),
                "chosen": assistant(chosen),
                "rejected": assistant(rejected),
                "reward_margin": round(rewards[winner] - rewards[loser], 4),
                "chosen_margin_rewards": [brevity(chosen)],
                "rejected_margin_rewards": [brevity(rejected)],
                "chosen_correctness": chosen_right,
                "rejected_correctness": rejected_right,
                "chosen_brevity": brevity(chosen),
                "rejected_brevity": brevity(rejected),
            }
        )
    return rows[:count]


def scored_pairs(
    rng: random.Random, problems: Sequence[Problem], samples: Sequence[Sequence[str]]
) -> Iterator[tuple[Problem, str, str]]:
    """Pairs to label: right against wrong, and a small share of two different samples that are equally right."""
    for problem, texts in zip(problems, samples, strict=True):
        distinct = list(dict.fromkeys(texts))
        right = [text for text in distinct if is_right(problem, text)] or [problem.worked]
        wrong = [text for text in distinct if not is_right(problem, text)]
        if len(wrong) >= 2 and rng.random() < EVEN_PAIR_SHARE:
            yield (problem, wrong[0], wrong[1])
        elif wrong:
            yield (problem, rng.choice(right), wrong[0])
