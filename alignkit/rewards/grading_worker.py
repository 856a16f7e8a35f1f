"""The program that a grading worker process runs: one JSON request a line in, one JSON answer a line out.

A worker ends with its deadline even when nobody is there to kill it: before each item the kernel's timers are armed
with their signals' default action, which ends the process without asking the interpreter (a huge power holds the
interpreter's lock for ever). The deadline counts the worker's own processor time, so that a busy machine does not turn
a right answer into a time-out; a multiple of it counts on the clock. A worker also ends when its input is closed.
"""

import json
import logging
import os
import signal
import sys


# Enough for sympy on any honest answer; an expression that wants more is ended by a MemoryError.
MAX_BYTES = 2 * 2**30
# How much slower than its processor time an item may be by the clock.
WALL_FACTOR = 6


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)  # a library that prints must not write between the answers
    limit_memory()
    logging.disable(logging.CRITICAL)
    import math_verify  # noqa: F401  # imported before "ready", so that no item's deadline pays for it

    from alignkit.rewards.math_check import check

    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        arm(request["deadline"])
        try:
            correct, status, extracted = check(request["gold"], request["completion"], request["tolerance"])
        except (MemoryError, RecursionError):
            correct, status, extracted = False, "too_complex", None
        except Exception:  # a fault of the parser on untrusted text is that answer's fault, not the run's
            correct, status, extracted = False, "unparsable", None
        arm(0)
        answers.write(json.dumps({"correct": correct, "status": status, "extracted": extracted}) + "\n")
        answers.flush()


def arm(seconds: float) -> None:
    """Let the kernel end this process after `seconds` of its processor time, or `WALL_FACTOR` times that by the clock.

    0 disarms. Windows has no such timers: there the parent kills.
    """
    if hasattr(signal, "setitimer"):
        for timer, number, limit in (
            (signal.ITIMER_PROF, signal.SIGPROF, seconds),
            (signal.ITIMER_REAL, signal.SIGALRM, seconds * WALL_FACTOR),
        ):
            signal.signal(number, signal.SIG_DFL)
            signal.setitimer(timer, limit)


def limit_memory() -> None:
    """Bound the address space where the platform can."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    except (ImportError, ValueError, OSError):
        return
