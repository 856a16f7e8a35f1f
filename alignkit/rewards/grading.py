"""Grade answers with math-verify in a pool of killable worker processes, each item under a hard deadline.

Completions are untrusted text: some hang a computer-algebra system for ever, some exhaust memory, some crash it. Here
such an item costs its deadline and one worker, which is replaced; the item is wrong and says why. Works from any
thread, in notebooks and inside TRL's reward loop: a worker is a plain subprocess that imports math-verify and nothing
else (no torch, and not the caller's `__main__`).
"""

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from .grading_worker import WALL_FACTOR
from .texts import completion_text, read_column


logger = logging.getLogger(__name__)

# "ok": compared. "unparsable": no answer found. "too_complex": beyond the bounds. "bad_gold": the gold is no maths.
# "timeout": ended by the deadline. "crash": the worker died of it. All but "ok" are wrong.
STATUSES = ("ok", "unparsable", "too_complex", "bad_gold", "timeout", "crash")
DEADLINE = 10.0
START_DEADLINE = 300.0
# The worker ends itself at its deadlines; the parent's own timer is for platforms and states where it cannot.
GRACE = 1.0
TIMER_EXITS = [-getattr(signal, name) for name in ("SIGPROF", "SIGALRM") if hasattr(signal, name)]


@dataclass(frozen=True)
class Grade:
    """Verdict on one answer: `status` is one of `STATUSES`, `extracted` the answer's text where one was found."""

    correct: bool
    status: str
    extracted: str | None = None


class GradingPool:
    """A pool of worker processes that grade (gold, completion) pairs.

    Args:
        num_workers: processes; default: one per core, 8 at most.
        deadline: seconds of processor time that one item may take before its worker is killed (and six times that by
            the clock), so that grades do not depend on how busy the machine is.
        tolerance: also accept numbers within this relative distance of the gold (None: math-verify alone decides).

    Workers start at the first use and end with `close`, the `with` block, or the process.
    """

    def __init__(
        self, num_workers: int | None = None, deadline: float = DEADLINE, tolerance: float | None = None
    ) -> None:
        num_workers = min(os.cpu_count() or 1, 8) if num_workers is None else num_workers
        if num_workers < 1:
            raise InputError(f"num_workers is {num_workers}: it must be at least 1")
        if not 0 < deadline < float("inf"):
            raise InputError(f"deadline is {deadline} s: it must be positive")
        if tolerance is not None and not 0 <= tolerance < 1:
            raise InputError(f"tolerance is {tolerance}: it must be in [0, 1)")
        self.num_workers = num_workers
        self.deadline = deadline
        self.tolerance = tolerance
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._executor: ThreadPoolExecutor | None = None

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """Grade (gold, completion) pairs; the grades are in their order."""
        return list(self.imap(pairs))

    def imap(self, pairs: Iterable[tuple[str, str]]) -> Iterator[Grade]:
        """Yield the grades in order as they are ready."""
        executor = self._start()
        futures: list[Future[Grade]] = [executor.submit(self._grade_one, gold, text) for gold, text in pairs]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """End the workers. The pool starts new ones if it is used again."""
        with self._lock:
            if self._executor is not None and self._pid == os.getpid():
                self._executor.shutdown(wait=True, cancel_futures=True)
                self._finalizer()
            self._executor = None

    def __enter__(self) -> "GradingPool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> ThreadPoolExecutor:
        with self._lock:
            # A forked child must not talk through its parent's pipes.
            if self._executor is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._workers = [Worker() for _ in range(self.num_workers)]
                self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
                for worker in self._workers:
                    self._idle.put(worker)
                self._executor = ThreadPoolExecutor(self.num_workers, thread_name_prefix="grading")
                self._finalizer = weakref.finalize(self, stop_all, self._workers)
            return self._executor

    def _grade_one(self, gold: str, completion: str) -> Grade:
        worker = self._idle.get()
        try:
            return worker.grade(gold, completion, self.deadline, self.tolerance)
        finally:
            self._idle.put(worker)


class Worker:
    """One worker process, started when needed and again after it died. Used by one thread at a time."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def grade(self, gold: str, completion: str, deadline: float, tolerance: float | None) -> Grade:
        process = self._running()
        request = {"gold": gold, "completion": completion, "deadline": deadline, "tolerance": tolerance}
        reply, killed = ask(process, json.dumps(request) + "\n", deadline * WALL_FACTOR + GRACE)
        if reply is not None and not killed:
            return Grade(reply["correct"], reply["status"], reply["extracted"])
        code = self.stop()
        timed_out = killed or code in TIMER_EXITS
        logger.warning("a grading worker %s; it is replaced", "passed its deadline" if timed_out else "died")
        return Grade(False, "timeout" if timed_out else "crash")

    def stop(self) -> int | None:
        """Kill the process (if it still runs) and return its exit code."""
        process, self.process = self.process, None
        if process is None:
            return None
        if process.poll() is None:
            process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was buffered for a dead worker cannot be flushed
                    continue
        return code

    def _running(self) -> "subprocess.Popen[str]":
        if self.process is not None and self.process.poll() is None:
            return self.process
        self.stop()
        self.process = process = start_process()
        reply, killed = ask(process, "", START_DEADLINE)
        if reply is None or killed:
            code = self.stop()
            raise RuntimeError(
                f"a grading worker did not start (exit code {code}): try `{sys.executable} -c 'import math_verify'`"
            )
        return process


def ask(process: "subprocess.Popen[str]", request: str, seconds: float) -> tuple[dict[str, Any] | None, bool]:
    """Write a request and read the answer; (None, _) if the process died, (_, True) if it was killed for its time."""
    assert process.stdin is not None and process.stdout is not None
    expired = threading.Event()

    def kill() -> None:
        expired.set()
        process.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        process.stdin.write(request)
        process.stdin.flush()
        line = process.stdout.readline()
        return (json.loads(line) if line.endswith("\n") else None), expired.is_set()
    except (BrokenPipeError, OSError):
        return None, expired.is_set()
    finally:
        timer.cancel()


def start_process() -> "subprocess.Popen[str]":
    """Start a worker that sees the same packages as this process, whatever put them on the path."""
    path = [str(Path(entry).resolve()) for entry in sys.path if entry]
    return subprocess.Popen(
        [sys.executable, "-c", "from alignkit.rewards.grading_worker import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        cwd=sys.prefix,  # `-c` puts the working folder first on the path: it must not shadow a module
        start_new_session=True,  # Ctrl-C is for the caller, which then closes the pool
    )


def stop_all(workers: list[Worker]) -> None:
    """End a pool's processes."""
    for worker in workers:
        worker.stop()


class MathAccuracyReward:
    """A TRL reward function: 1.0 where the completion's answer is the gold in the column `answer`, else 0.0.

    None (TRL leaves the row out) only where the gold itself is missing or cannot be read. `counts` holds how many
    completions ended with each of `STATUSES` since the start; behind a `Guard` they are logged.
    """

    count_kinds = STATUSES[1:]
    ends_by_itself = True  # each answer has its deadline

    def __init__(self, pool: GradingPool | None = None, column: str = "answer") -> None:
        self.pool = pool or GradingPool()
        self.column = column
        self.counts: Counter[str] = Counter()
        self.__name__ = "math_accuracy"

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        golds = read_column(self.__name__, self.column, columns)
        pairs = zip(golds, map(completion_text, completions), strict=True)
        grades = self.pool.grade([("" if gold is None else str(gold), text) for gold, text in pairs])
        self.counts.update(grade.status for grade in grades)
        return [None if grade.status == "bad_gold" else float(grade.correct) for grade in grades]
