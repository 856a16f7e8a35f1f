"""Run a configured loop: what `alignkit loop` and `trainers/loop.py` call."""

import logging
import os
import sys

from ...config import load_run
from ...errors import InputError
from . import loop_method


logger = logging.getLogger(__name__)


def run_loop(key: str, config_path: str | None, overrides: list[str]) -> str:
    """Run the loop of method `key`, or go on with it; return the path of the final model."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            f"the loop was launched with {os.environ['WORLD_SIZE']} processes, but it runs in one; start it with "
            "`alignkit loop`, not with `accelerate launch`."
        )
    from .runner import LoopRunner

    runner = LoopRunner(load_run(loop_method(key), config_path, overrides))
    final = runner.run()
    logger.info("The final model is %s, also linked as %s", final, runner.folder / "final")
    return final


def main(argv: list[str] | None = None) -> int:
    """`METHOD [--config FILE] [--field value ...]`: the entry of the launcher."""
    argv = sys.argv[1:] if argv is None else list(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if not argv or argv[0].startswith("-"):
            raise InputError("the first argument is the method, e.g. `sppo`.")
        method, config_path, overrides = argv[0], None, argv[1:]
        if "--config" in overrides:
            position = overrides.index("--config")
            config_path = overrides[position + 1]
            overrides = overrides[:position] + overrides[position + 2 :]
        run_loop(method, config_path, overrides)
    except InputError as error:
        print(f"alignkit: error: {error}", file=sys.stderr)
        return 2
    return 0
