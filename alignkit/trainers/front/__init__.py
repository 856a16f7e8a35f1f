"""The front of a multi-objective method: one policy per weight, each measured on every objective.

`runner.py` owns files and resume, `measuring.py` samples and scores, `front.py` holds the arithmetic and the picture.
Nothing heavy is imported here: the command line reads this table.
"""

import dataclasses

from ...catalog import Method, get
from ...errors import InputError


# Method key -> "module:Class" of the configuration of its front.
FRONTS = {"modpo": "alignkit.trainers.front.config:MODPOFrontConfig"}


def front_method(key: str) -> Method:
    """The catalog entry of `key` with the configuration of its front; `InputError` for a method that has none."""
    method = get(key)
    if key not in FRONTS:
        raise InputError(f"the method {key!r} has no front; methods that have one: {', '.join(FRONTS)}.")
    return dataclasses.replace(method, config=FRONTS[key])
