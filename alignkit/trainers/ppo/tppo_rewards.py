"""Reward functions that see finished responses alone."""

from collections.abc import Callable
from typing import Any

from ...rewards.guard import is_async


# What TRL passes to a reward function and is not one value for each completion.
LOGGING = ("trainer_state", "log_extra", "log_metric")


class FinishedAlone:
    """A TRL reward function around another one, which it calls with the rows of finished responses, if there are any.

    The others get 0, which the trainer does not take for a reward (with None, TRL would warn of each such batch).

    Args:
        function: the reward function.
        finished: gives the rows to score, by index; None: all.
    """

    def __init__(self, function: Callable[..., Any], finished: Callable[[], list[int] | None]) -> None:
        self.function, self.finished = function, finished
        self.__name__ = function.__name__

    def __call__(self, **given: Any) -> list[float | None]:
        rows = self.finished()
        if rows is None:
            return self.function(**given)
        return spread(self.function(**narrow(given, rows)) if rows else [], rows, len(given["completions"]))


class FinishedAloneAsync(FinishedAlone):
    """The same around a coroutine function."""

    async def __call__(self, **given: Any) -> list[float | None]:  # type: ignore[override]
        rows = self.finished()
        if rows is None:
            return await self.function(**given)
        return spread(await self.function(**narrow(given, rows)) if rows else [], rows, len(given["completions"]))


def of_finished(function: Callable[..., Any], finished: Callable[[], list[int] | None]) -> FinishedAlone:
    """`function` for finished responses alone."""
    return (FinishedAloneAsync if is_async(function) else FinishedAlone)(function, finished)


def narrow(given: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    """TRL's arguments for these rows alone; a column that the function logs is None for the others."""
    size = len(given["completions"])
    kept = {name: value if name in LOGGING else [value[row] for row in rows] for name, value in given.items()}
    log_extra = given.get("log_extra")
    if log_extra is not None:
        kept["log_extra"] = lambda column, values: log_extra(column, spread(values, rows, size, None))
    return kept


def spread(values: Any, rows: list[int], size: int, rest: Any = 0.0) -> list[Any]:
    """A list of `size` with `values` at `rows`."""
    full = [rest] * size
    for row, value in zip(rows, values, strict=True):
        full[row] = value
    return full
