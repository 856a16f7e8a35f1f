"""Before the first step: does every reward function return numbers of the right length?"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .guard import AsyncGuard, Guard, ignore


PROBE = "The answer is \\boxed{0}."


@dataclass(frozen=True)
class RewardCheck:
    """What one reward function said of the rows; `sentence` says it in words, `suspicious` that it should be read."""

    name: str
    completions: int
    scored: int
    low: float | None
    high: float | None
    suspicious: bool
    sentence: str


def self_check_rewards(
    funcs: Sequence[Any],
    rows: Sequence[Mapping[str, Any]],
    completions: Sequence[Any] | None = None,
    completion_ids: Sequence[Sequence[int]] | None = None,
) -> list[RewardCheck]:
    """Call every guarded function once on rows of the data set.

    Args:
        funcs: of `ResolvedRewards.funcs`; reward models are left to TRL and not called.
        rows: rows of the data set, with `prompt`.
        completions: one per row, as the trainer passes them (sampled ones say most). Default: the same short text for
            each, in the form of the row's prompt, so that only the functions' form is checked.
        completion_ids: their tokens; default: eight zeros each.

    Returns one `RewardCheck` per guarded function. Raises `RewardError` where a function fails.
    """
    prompts = [row["prompt"] for row in rows]
    sampled = completions is not None
    if completions is None:
        completions = [
            PROBE if isinstance(prompt, str) else [{"role": "assistant", "content": PROBE}] for prompt in prompts
        ]
    given: dict[str, Any] = {
        name: [row.get(name) for row in rows]
        for name in dict.fromkeys(key for row in rows for key in row)
        if name not in ("prompt", "completion", "completion_ids")
    }
    given["prompts"] = prompts
    given["completion_ids"] = [[0] * 8 for _ in rows] if completion_ids is None else list(completion_ids)
    given |= {"trainer_state": None, "log_extra": ignore, "log_metric": ignore}
    return [check(func, list(completions), given, sampled) for func in funcs if isinstance(func, Guard)]


def check(func: Guard, completions: list[Any], given: dict[str, Any], sampled: bool) -> RewardCheck:
    counts = func.counts.copy()
    if isinstance(func, AsyncGuard):
        rewards = asyncio.run(func(completions=completions, **given))
    else:
        rewards = func(completions=completions, **given)
    func.counts = counts  # a rehearsal is not part of the run
    scored = [reward for reward in rewards if reward is not None]
    low, high = (min(scored), max(scored)) if scored else (None, None)
    # The same probe for every row may well be worth the same; sampled completions should differ.
    flat = sampled and len(scored) > 1 and low == high
    sentence = f"{func.__name__} scored {len(scored)} of {len(rewards)} completions"
    if scored:
        sentence += f", from {low:.4g} to {high:.4g}"
    if flat:
        sentence += "; all got the same reward, which teaches nothing"
    elif not scored:
        sentence += "; a function that scores nothing teaches nothing"
    return RewardCheck(func.__name__, len(rewards), len(scored), low, high, flat or not scored, f"{sentence}.")
