"""The rewards of a run: what each reads, and what it says of a few rows before anything is generated."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...data.validation import missing_column
from ...errors import InputError
from ...rewards import Guard, JudgeReward, ResolvedRewards, RewardCheck, self_check_rewards
from ...rewards.guard import TRAINER_ARGUMENTS, parameters_of


# Rows that every function is tried on.
TRIED_ROWS = 4
# Columns that hold, or lead to, a right answer; the first that a row has makes its trial completion.
GOLD_COLUMNS = ("completion", "solution", "answer")


@dataclass(frozen=True)
class RewardTrial:
    """One reward of the run.

    Attributes:
        name: under which it is logged.
        weight: of its values in the total.
        columns: columns of the data set that it reads.
        sentence: what the trial said, or why there was none.
    """

    name: str
    weight: float
    columns: tuple[str, ...]
    sentence: str


def columns_of(func: Any, present: Sequence[str]) -> tuple[str, ...]:
    """The columns that a reward function reads, as far as its signature and attributes tell.

    Parameters without a default are needed; those with one are read where the data set has such a column. An attribute
    `column` or `reference_column`, of the function or of the function that it asks, names one too.
    """
    if not isinstance(func, Guard):
        return ()
    function = func.function
    bound: set[str] = set()
    while isinstance(function, functools.partial):
        bound |= set(function.keywords)
        function = function.func
    columns: list[str] = []
    for source in (function, getattr(function, "accuracy", None)):
        names = (getattr(source, attribute, None) for attribute in ("column", "reference_column"))
        columns += [name for name in names if isinstance(name, str)]
    for name, parameter in (parameters_of(function) or {}).items():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if named and name not in TRAINER_ARGUMENTS and name not in bound:
            if parameter.default is parameter.empty or name in present:
                columns.append(name)
    return tuple(dict.fromkeys(columns))


def require_columns(rewards: ResolvedRewards, present: Sequence[str], source: str) -> tuple[str, ...]:
    """The columns that the rewards read; `InputError` for one that the data set lacks."""
    needed: list[str] = []
    for func, name in zip(rewards.funcs, rewards.names, strict=True):
        for column in columns_of(func, present):
            if column not in present:
                error = missing_column(column, present, source)
                raise InputError(f"{str(error).removesuffix('.')} (the reward {name} reads it).")
            needed.append(column)
    return tuple(dict.fromkeys(needed))


def try_rewards(rewards: ResolvedRewards, rows: list[dict[str, Any]]) -> tuple[list[RewardTrial], list[str]]:
    """Call every Python function on a few rows, and return the trials with what to be warned of.

    Each is called twice: with a completion made from the row's own solution or answer, where it has one, and with the
    same short text for every row. Reward models are not loaded and judges not asked.

    Raises `InputError` where a function fails.
    """
    present = list(rows[0])
    callable_funcs = [func for func in rewards.funcs if is_tried(func)]
    golds = gold_completions(rows)
    dummies = by_name(self_check_rewards(callable_funcs, rows))
    right = by_name(self_check_rewards(callable_funcs, rows, golds)) if golds else {}
    trials, warnings = [], []
    weights = rewards.weights or [1.0] * len(rewards.funcs)
    for func, name, weight in zip(rewards.funcs, rewards.names, weights, strict=True):
        columns = columns_of(func, present)
        if name in dummies:
            sentence = trial_sentence(dummies[name], right.get(name))
            warnings += doubts(name, columns, dummies[name], right.get(name))
        elif isinstance(func, Guard):
            sentence = "a judge, not asked here"
        else:
            sentence = "a reward model, not loaded here"
        trials.append(RewardTrial(name, weight, columns, sentence))
    return trials, warnings


def is_tried(func: Any) -> bool:
    """Whether a trial costs nothing: a judge may load a model or ask an endpoint that is paid for."""
    return isinstance(func, Guard) and not isinstance(func.function, JudgeReward)


def by_name(checks: list[RewardCheck]) -> dict[str, RewardCheck]:
    return {check.name: check for check in checks}


def gold_completions(rows: list[dict[str, Any]]) -> list[Any] | None:
    """One right completion per row, in the form of its prompt; None where not every row has one."""
    texts = [gold_text(row) for row in rows]
    if any(text is None for text in texts):
        return None
    return [
        text if isinstance(row["prompt"], str) else [{"role": "assistant", "content": text}]
        for text, row in zip(texts, rows, strict=True)
    ]


def gold_text(row: Mapping[str, Any]) -> str | None:
    """What a right completion of the row would say: its solution, with its answer in a box where it has one."""
    column = next((name for name in GOLD_COLUMNS if row.get(name)), None)
    if column is None:
        return None
    value = row[column]
    if column == "answer":
        return f"The answer is \\boxed{{{value}}}."
    return value if isinstance(value, str) else str(value[-1]["content"])


def trial_sentence(dummy: RewardCheck, right: RewardCheck | None) -> str:
    """Both trials in words."""
    said = f"{values(dummy)} for a dummy completion"
    return said if right is None else f"{values(right)} for the rows' own solutions, {said}"


def values(check: RewardCheck) -> str:
    if check.low is None or check.high is None:
        return "nothing"
    return f"{check.low:.4g}" if check.low == check.high else f"{check.low:.4g} to {check.high:.4g}"


def doubts(name: str, columns: tuple[str, ...], dummy: RewardCheck, right: RewardCheck | None) -> list[str]:
    """What of the trials should be read before training."""
    if dummy.scored == 0 and (right is None or right.scored == 0):
        return [f"the reward {name} scored none of {dummy.completions} rows: it teaches nothing on such rows."]
    if right is None or not set(columns) & set(GOLD_COLUMNS):
        return []
    if right.high is None or dummy.high is None or right.high > dummy.high:
        return []
    return [
        f"the reward {name} reads {', '.join(columns)}, but gives the rows' own solutions no more than a dummy "
        f"completion ({values(right)} against {values(dummy)}): look at the column and at the form of the answers."
    ]
