"""Call a function under a deadline, whatever it hangs in.

Three cuts, one behind the other. In the main thread the kernel's timer raises `DeadlinePassed` inside the function: this
ends Python loops, sleeps, waits, regular expressions and powers that never end. Elsewhere (another thread, no such
timer, or somebody else's timer runs) the function runs in a thread of its own, which is left behind. What holds the
interpreter's lock and listens to no signal ends with the process: `faulthandler` prints where it hangs and exits.
"""

import ctypes
import faulthandler
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar


T = TypeVar("T")
# How long after its deadline a call may still be running before the process is ended.
GRACE = 10.0
# The alarm rings again, for a function that swallowed it.
REPEAT = 0.5


class DeadlinePassed(BaseException):
    """Not an `Exception`: a function that catches those must not swallow its deadline."""


def call_with_deadline(function: Callable[[], T], seconds: float | None) -> T:
    """Return `function()`; raise `DeadlinePassed` if it takes longer than `seconds` (None: no deadline)."""
    if seconds is None:
        return function()
    with hard_stop(seconds + GRACE):
        if alarm_is_free():
            return call_under_alarm(function, seconds)
        return call_in_thread(function, seconds)


def alarm_is_free() -> bool:
    """Whether the kernel's alarm can be ours: it reaches the main thread only, and there is one in a process."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )


def call_under_alarm(function: Callable[[], T], seconds: float) -> T:
    armed = [True]

    def expire(number: int, frame: Any) -> None:
        if armed:
            raise DeadlinePassed

    before = signal.signal(signal.SIGALRM, expire)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT)
        try:
            return function()
        finally:
            armed.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def call_in_thread(function: Callable[[], T], seconds: float) -> T:
    results: list[T] = []
    errors: list[BaseException] = []
    context, device = copy_context(), cuda_device()

    def run() -> None:
        try:
            if device is not None:
                sys.modules["torch"].cuda.set_device(device)  # a new thread would start on the first device
            results.append(context.run(function))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="deadline", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if errors:
        raise errors[0]
    end_thread(thread)
    raise DeadlinePassed


def cuda_device() -> int | None:
    """The current CUDA device of this thread, where there is one in use."""
    torch = sys.modules.get("torch")
    return torch.cuda.current_device() if torch is not None and torch.cuda.is_initialized() else None


def end_thread(thread: threading.Thread) -> None:
    """Ask the interpreter to end a thread at its next Python instruction: a loop must not run on behind the error."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(DeadlinePassed))


_stops: dict[object, float] = {}
_stops_lock = threading.Lock()


@contextmanager
def hard_stop(seconds: float) -> Iterator[None]:
    """End the process with a traceback of every thread if the block is still running after `seconds`."""
    key = object()
    with _stops_lock:
        _stops[key] = time.monotonic() + seconds
        arm_hard_stop()
    try:
        yield
    finally:
        with _stops_lock:
            del _stops[key]
            arm_hard_stop()


def arm_hard_stop() -> None:
    """Set `faulthandler`'s single timer to the next of the open deadlines."""
    if sys.__stderr__ is None:  # a process without a console has nowhere to say it
        return
    if _stops:
        wait = max(min(_stops.values()) - time.monotonic(), 0.001)
        faulthandler.dump_traceback_later(wait, exit=True, file=sys.__stderr__)
    else:
        faulthandler.cancel_dump_traceback_later()
