"""The loop: sample from the policy, judge, build pairs, train, and repeat from the result.

`runner.py` owns files, seeds, resume and metrics; `rules/` holds what each method sets. Nothing heavy is imported here:
the command line reads this table.
"""

import dataclasses

from ...catalog import Method, get
from ...errors import InputError


# Method key -> module of its rule, which defines `Rule` and the configuration class named here.
LOOPS = {
    "dpo": "DPOLoopConfig",
    "sppo": "SPPOLoopConfig",
    "inpo": "INPOLoopConfig",
    "dno": "DNOLoopConfig",
    "apo_accelerated": "APOAcceleratedLoopConfig",
}

# Method key -> module whose `run_loop` runs its stages, where that is not the loop of this room.
RUNNERS = {
    "mpo": "alignkit.trainers.two_stage.launch",
    "direct_advantage": "alignkit.trainers.steps.launch",
}


def loop_runner(key: str) -> str:
    """The module whose `run_loop(key, config_path, overrides)` runs the stages of method `key`."""
    return RUNNERS.get(key, f"{__name__}.launch")


def loop_method(key: str) -> Method:
    """The catalog entry of `key` with the configuration of its loop; `InputError` for a method that has none."""
    method = get(key)
    if key in RUNNERS:
        return method
    if key not in LOOPS:
        raise InputError(f"the method {key!r} has no loop; methods that have one: {', '.join([*LOOPS, *RUNNERS])}.")
    return dataclasses.replace(method, config=f"{__name__}.rules.{key}:{LOOPS[key]}")
