"""A reward function for the rows of some tasks: the others are not shown to it, which a paid judge would charge for."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .guard import AsyncGuard, Guard


TASK_COLUMN = "task"


class TaskGuard(Guard):
    """A guarded function that sees the rows whose column `task` is one of `tasks`; None for every other row.

    Where a batch has no such row, it is not called.
    """

    def __init__(self, guard: Guard, tasks: Sequence[str]) -> None:
        super().__init__(guard.function, guard.__name__, guard.deadline)
        self.guard, self.tasks = guard, tuple(tasks)

    @property
    def counts(self) -> Counter[str]:
        return self.guard.counts if hasattr(self, "guard") else Counter()

    @counts.setter
    def counts(self, value: Counter[str]) -> None:
        if hasattr(self, "guard"):
            self.guard.counts = value

    def __call__(self, completions: Any, **given: Any) -> list[float | None]:
        rows = self.rows(completions, given)
        return self.spread(rows, self.guard(**self.selected(rows, completions, given)) if rows else [], completions)

    def rows(self, completions: Any, given: dict[str, Any]) -> list[int]:
        tasks = given.get(TASK_COLUMN) or [None] * len(completions)
        return [row for row, task in enumerate(tasks) if task in self.tasks]

    def selected(self, rows: list[int], completions: Any, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of the selected rows; what is logged for them is logged beside None for the others."""
        size = len(completions)
        chosen = {
            name: [value[row] for row in rows] if isinstance(value, (list, tuple)) and len(value) == size else value
            for name, value in {"completions": completions, **given}.items()
        }
        log_extra = given.get("log_extra")
        if log_extra is not None:
            chosen["log_extra"] = lambda column, values: log_extra(column, self.spread(rows, values, completions))
        return chosen

    @staticmethod
    def spread(rows: list[int], values: Sequence[Any], completions: Any) -> list[Any]:
        spread = [None] * len(completions)
        for row, value in zip(rows, values, strict=True):
            spread[row] = value
        return spread


class AsyncTaskGuard(TaskGuard, AsyncGuard):
    """The same around a coroutine function."""

    async def __call__(self, completions: Any, **given: Any) -> list[float | None]:  # type: ignore[override]
        rows = self.rows(completions, given)
        scored: list[float | None] = []
        if rows:
            scored = await self.guard(**self.selected(rows, completions, given))  # type: ignore[misc]
        return self.spread(rows, scored, completions)


def for_tasks(func: Any, tasks: Sequence[str]) -> Any:
    """`func` for the rows of `tasks` alone; a reward model, which TRL calls itself, is left as it is."""
    if not isinstance(func, Guard):
        return func
    return (AsyncTaskGuard if isinstance(func, AsyncGuard) else TaskGuard)(func, tasks)
