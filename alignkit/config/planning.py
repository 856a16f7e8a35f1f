"""The number of processes that a run is planned for, where it is not that of this process's own launcher."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


_PROCESSES: ContextVar[int | None] = ContextVar("planned_processes", default=None)


@contextmanager
def plan_for(processes: int | None) -> Iterator[None]:
    """Configurations that are made inside divide their batches by so many processes; None: by those that run."""
    token = _PROCESSES.set(processes)
    try:
        yield
    finally:
        _PROCESSES.reset(token)


def planned_processes() -> int | None:
    """The number given to `plan_for`, None outside of it."""
    return _PROCESSES.get()
