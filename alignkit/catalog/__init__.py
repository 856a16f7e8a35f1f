"""The single list of methods. Nothing heavy is imported: the command line and the documentation read it.

A new method is one `Method(...)` in the file of its family, its maths in `alignkit/objectives`, one file in
`alignkit/trainers`, one recipe in `configs` and one page in `docs/methods`.
"""

import difflib

from ..errors import InputError
from . import diffusion, online, ppo, preference, steps
from .method import Method
from .preference import PAIR


__all__ = ["METHODS", "PAIR", "Method", "get"]

METHODS: dict[str, Method] = {
    method.key: method
    for method in [*preference.METHODS, *online.METHODS, *ppo.METHODS, *steps.METHODS, *diffusion.METHODS]
}


def get(key: str) -> Method:
    """Return the method called `key`; raise `InputError` with the nearest names if there is none."""
    if key in METHODS:
        return METHODS[key]
    near = difflib.get_close_matches(key, METHODS, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known methods: {', '.join(METHODS)}."
    raise InputError(f"there is no method {key!r}; {hint}")
