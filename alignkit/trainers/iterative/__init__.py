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


def loop_method(key: str) -> Method:
    """The catalog entry of `key` with the configuration of its loop; `InputError` for a method that has none."""
    method = get(key)
    if key not in LOOPS:
        raise InputError(f"the method {key!r} has no loop; methods that have one: {', '.join(LOOPS)}.")
    return dataclasses.replace(method, config=f"{__name__}.rules.{key}:{LOOPS[key]}")
