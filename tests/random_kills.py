"""Kill a process at random moments of its work, start it again, and so on until it ends by itself."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


Start = Callable[[Path], subprocess.Popen]


def wait_until_ready(process: subprocess.Popen) -> None:
    """Return when the worker has written `ready`: its imports, which take longest, are done."""
    assert process.stdout is not None and process.stdout.readline().strip() == b"ready"


def time_of(start: Start, folder: Path) -> float:
    """Seconds that the uninterrupted work takes; it is left in `folder`."""
    process = start(folder)
    wait_until_ready(process)
    began = time.monotonic()
    assert process.wait() == 0
    return time.monotonic() - began


def kill_at_random_moments(
    start: Start,
    folder: Path,
    duration: float,
    check: Callable[[Path], None],
    on_kill: Callable[[Path], None] = lambda folder: None,
    kills: int = 10,
) -> int:
    """Kill (-9) `kills` processes, each at a random moment of the first third of the work; then let one finish.

    A run that ends before that many kills is passed to `check` and another one begins in a fresh folder, so is the last.
    Returns the number of runs.
    """
    rng, killed, runs = random.Random(0), 0, 0
    while True:
        here = folder.with_name(f"{folder.name}-{runs}")
        process = start(here)
        wait_until_ready(process)
        try:
            process.wait(timeout=duration * rng.uniform(0.02, 0.35) if killed < kills else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            on_kill(here)
            continue
        assert process.returncode == 0
        check(here)
        runs += 1
        if killed == kills:
            return runs
