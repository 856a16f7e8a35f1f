"""Every reward function stands behind a guard: under a deadline, its output checked, what it left out counted.

A fault of a reward function ends the run with one sentence that names the function and the first offending completion,
instead of a reward that is silently wrong. Checkpoints that were written are not touched.
"""

import asyncio
import functools
import inspect
import logging
import math
import numbers
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from alignkit.errors import InputError

from .deadline import GRACE, DeadlinePassed, call_with_deadline, hard_stop
from .deadline import __file__ as deadline_module
from .texts import excerpt


logger = logging.getLogger(__name__)

DEADLINE = 600.0
# A function that failed sooner than this is called row by row, to find the completion it failed on.
CHEAP_SECONDS = 1.0
SEARCH_SECONDS = 5.0
# What TRL passes beside the columns of the data set.
TRAINER_ARGUMENTS = (
    "prompts",
    "completions",
    "completion_ids",
    "trainer_state",
    "log_extra",
    "log_metric",
    "environments",
)
# Where the frames between TRL and the reward function lie.
OWN_PLACES = (__file__, deadline_module, os.path.dirname(asyncio.__file__))


class RewardError(InputError):
    """A reward function failed; the message names it and the first offending completion."""


class Guard:
    """A TRL reward function around another one.

    Args:
        function: called as TRL calls it, with `prompts`, `completions`, `completion_ids`, the columns of the data set,
            `trainer_state`, `log_extra` and `log_metric`, each by name; what its signature does not take is left out.
        name: in messages and metrics; default: the function's own, as TRL would find it.
        deadline: seconds that one call may take (see `deadline.call_with_deadline`); None: no deadline.

    Returns one float or None per completion. None and NaN mean "not scored" (TRL leaves the row out) and are counted;
    so is whatever the function counts itself in a mapping `counts` (its attribute `count_kinds` names those that are
    logged while they are 0). The guard's `counts` holds the sums since the start, and each call's numbers are logged as
    `rewards/<name>/<kind>`.

    Raises `RewardError` where the function raises, passes its deadline, lacks a column, or returns anything but one
    finite number, NaN or None per completion.
    """

    def __init__(
        self, function: Callable[..., Any], name: str | None = None, deadline: float | None = DEADLINE
    ) -> None:
        if deadline is not None and not 0 < deadline < math.inf:
            raise InputError(f"deadline is {deadline} s: it must be positive, or null for none")
        self.function = function
        self.__name__ = name or callable_name(function)
        self.deadline = deadline
        self.counts: Counter[str] = Counter()
        self._parameters = parameters_of(function)

    def __call__(self, completions: Any, **given: Any) -> list[float | None]:
        call = Call(self, completions, given)
        try:
            output = call_with_deadline(lambda: self.function(**call.arguments), self.deadline)
        except DeadlinePassed:
            raise call.too_late() from None
        except InputError:
            raise
        except Exception as error:
            raise call.failure(error, self._first_failing(call, error)) from error
        return call.finish(output)

    def arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """What of `given` the function takes; `RewardError` for a column that it wants and the data lacks."""
        if self._parameters is None:
            return given
        wanted = [
            name
            for name, parameter in self._parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        for name in wanted:
            if name not in given:
                columns = sorted(set(given) - set(TRAINER_ARGUMENTS))
                raise RewardError(
                    f"reward function {self.__name__} reads the column {name!r}, which the data set does not have; its "
                    f"columns are {', '.join(columns) or 'none'} (and prompts, completions, completion_ids)."
                )
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in self._parameters.values()):
            return given
        return {name: value for name, value in given.items() if name in self._parameters}

    def own_counts(self) -> dict[str, int]:
        """What the function itself has counted so far."""
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        counts = getattr(function, "counts", None)
        known = dict.fromkeys(getattr(function, "count_kinds", ()), 0)
        return {**known, **counts} if isinstance(counts, Mapping) else known

    def _first_failing(self, call: "Call", error: Exception) -> int | None:
        """The first row on which the function fails by itself; None where it fails on none, or is too slow to ask."""
        if call.seconds() > CHEAP_SECONDS:
            return None
        end = time.monotonic() + SEARCH_SECONDS
        for row in range(len(call.completions)):
            left = end - time.monotonic()
            if left <= 0:
                return None
            arguments = call.row_arguments(row)
            try:
                call_with_deadline(functools.partial(self.function, **arguments), left)
            except DeadlinePassed:
                return None
            except Exception as again:
                if type(again) is type(error):
                    return row
        return None


class AsyncGuard(Guard):
    """A guard around a coroutine function: TRL awaits it beside the others."""

    async def __call__(self, completions: Any, **given: Any) -> list[float | None]:  # type: ignore[override]
        call = Call(self, completions, given)
        try:
            if self.deadline is None:
                output = await self.function(**call.arguments)
            else:
                # A coroutine that blocks its event loop cannot be cut by it.
                with hard_stop(self.deadline + GRACE):
                    output = await asyncio.wait_for(self.function(**call.arguments), self.deadline)
        except asyncio.TimeoutError as error:
            if self.deadline is not None and call.seconds() >= self.deadline:
                raise call.too_late() from None
            raise call.failure(error, None) from error
        except InputError:
            raise
        except Exception as error:
            raise call.failure(error, None) from error
        return call.finish(output)


class Call:
    """One call of a guarded function: its arguments, and what becomes of its output."""

    def __init__(self, guard: Guard, completions: Any, given: dict[str, Any]) -> None:
        self.guard = guard
        self.name = guard.__name__
        self.completions = completions
        self.given = given
        self.arguments = guard.arguments({"completions": completions, **given})
        self.before = guard.own_counts()
        self.start = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self.start

    def row_arguments(self, row: int) -> dict[str, Any]:
        """The arguments of one row alone, its logging switched off."""
        size = len(self.completions)
        arguments = {
            name: value[row : row + 1] if isinstance(value, (list, tuple)) and len(value) == size else value
            for name, value in self.arguments.items()
        }
        return arguments | {name: ignore for name in ("log_extra", "log_metric") if name in arguments}

    def finish(self, output: Any) -> list[float | None]:
        """The output checked, as floats and None; its counts added up and logged."""
        rewards, counts = self.checked(output)
        for kind, count in self.guard.own_counts().items():
            if kind != "ok":
                counts[kind] = counts.get(kind, 0) + count - self.before.get(kind, 0)
        self.guard.counts.update(counts)
        log_metric = self.given.get("log_metric")
        if log_metric is not None:
            for kind, count in counts.items():
                log_metric(f"rewards/{self.name}/{kind}", float(count))
        return rewards

    def checked(self, output: Any) -> tuple[list[float | None], dict[str, int]]:
        size = len(self.completions)
        values = as_list(output)
        if values is None:
            raise RewardError(
                f"reward function {self.name} returned {describe(output)}; expected a list of {size} numbers, one per "
                f"completion. {self.place(0)}"
            )
        if len(values) != size:
            # With too few, the first completion that got none; with too many, none is to blame.
            row = len(values) if len(values) < size else 0
            raise RewardError(
                f"reward function {self.name} returned {len(values)} rewards for {size} completions; expected one per "
                f"completion. {self.place(row)}"
            )
        rewards: list[float | None] = []
        counts = {"none": 0, "nan": 0}
        for row, value in enumerate(values):
            if value is None:
                counts["none"] += 1
                rewards.append(None)
                continue
            number = as_number(value)
            if number is None or math.isinf(number):
                raise RewardError(
                    f"reward function {self.name} returned {describe(value)} for completion {row} (counted from 0) of "
                    f"{size}; expected a finite number, or None for a completion that it cannot score. "
                    f"{self.place(row)}"
                )
            counts["nan"] += math.isnan(number)
            rewards.append(None if math.isnan(number) else number)
        return rewards, counts

    def too_late(self) -> RewardError:
        return RewardError(
            f"reward function {self.name} has not returned after {self.guard.deadline:g} s on "
            f"{len(self.completions)} completions; it was ended. Raise its `deadline` if it is only slow. {self.place(0)}"
        )

    def failure(self, error: Exception, row: int | None) -> RewardError:
        logger.error("the reward function %s failed", self.name, exc_info=error)
        where = f"completion {row} (counted from 0)" if row is not None else "a batch"
        return RewardError(
            f"reward function {self.name} raised {type(error).__name__}: {' '.join(str(error).split())} "
            f"({raised_at(error)}) on {where} of {len(self.completions)} completions. {self.place(row or 0)}"
        )

    def place(self, row: int) -> str:
        """The completion of a row, in a sentence."""
        if not len(self.completions):
            return "There are no completions."
        which = "The first completion" if row == 0 else f"Completion {row} (counted from 0)"
        return f"{which}: {excerpt(self.completions[row])}"


def guard_reward(function: Any, name: str | None = None, deadline: float | None = DEADLINE) -> Guard:
    """`function` behind a `Guard`, or an `AsyncGuard` where calling it gives a coroutine."""
    return (AsyncGuard if is_async(function) else Guard)(function, name, deadline)


def is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def callable_name(function: Any) -> str:
    """The name by which TRL shows a reward function."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def parameters_of(function: Any) -> Mapping[str, inspect.Parameter] | None:
    """The function's parameters; None for one that does not tell."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


def raised_at(error: BaseException) -> str:
    """File and line of the reward function that led to the error: the first frame that is not the guard's."""
    frames = traceback.extract_tb(error.__traceback__)
    others = [frame for frame in frames if not frame.filename.startswith(OWN_PLACES)]
    frame = (others or frames)[0]
    return f"{frame.filename}, line {frame.lineno}"


def ignore(*arguments: Any) -> None:
    """Stands in for TRL's logging in calls that are not part of the run."""


def as_list(output: Any) -> list[Any] | None:
    """A list, tuple, array or tensor of one dimension as a list; None for anything else."""
    if isinstance(output, (list, tuple)):
        return list(output)
    if hasattr(output, "tolist") and getattr(output, "ndim", 0) == 1:
        return output.tolist()
    return None


def as_number(value: Any) -> float | None:
    """A Python, numpy or 0-d tensor number as a float; None for anything else, texts that look like numbers too."""
    if not isinstance(value, numbers.Real) and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    return float(value) if isinstance(value, numbers.Real) else None


def describe(value: Any) -> str:
    """A value in a message: short, and of what type."""
    text = " ".join(repr(value).split())
    return f"{text[:80]}{' ...' if len(text) > 80 else ''} ({type(value).__name__})"
