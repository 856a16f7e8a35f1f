"""The command line of a launched process: `METHOD [--config FILE] [--field value ...]`, bad input said in one sentence."""

import logging
import sys
from collections.abc import Callable

from ..errors import InputError


def run_entry(argv: list[str] | None, action: Callable[[str, str | None, list[str]], object]) -> int:
    """Call `action(method, config_path, overrides)` with what was typed; return the exit code, 0 or 2 for bad input."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        action(*parse(arguments))
    except InputError as error:
        print(f"alignkit: error: {error}", file=sys.stderr)
        return 2
    return 0


def parse(arguments: list[str]) -> tuple[str, str | None, list[str]]:
    """Part the arguments into the method, the path of the YAML file and the flags."""
    if not arguments or arguments[0].startswith("-"):
        raise InputError("the first argument is the method, e.g. `madpo`.")
    method, *overrides = arguments
    if "--config" not in overrides:
        return method, None, overrides
    position = overrides.index("--config")
    if position + 1 == len(overrides):
        raise InputError("`--config` names no file; write `--config FILE`.")
    return method, overrides[position + 1], overrides[:position] + overrides[position + 2 :]
