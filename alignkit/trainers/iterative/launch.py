"""Run a configured loop: what `alignkit loop` and `trainers/loop.py` call."""

import importlib
import logging
import os

from ...config import load_run
from ...errors import InputError
from ..entry import run_entry
from . import loop_method, loop_runner


logger = logging.getLogger(__name__)


def run_loop(key: str, config_path: str | None, overrides: list[str]) -> str:
    """Run the loop of method `key`, or go on with it; return the path of the final model."""
    refuse_a_launcher("set `num_processes`: the loop then starts so many to train")
    from .runner import LoopRunner

    runner = LoopRunner(load_run(loop_method(key), config_path, overrides))
    final = runner.run()
    logger.info("The final model is %s, also linked as %s", final, runner.folder / "final")
    return final


def refuse_a_launcher(advice: str) -> None:
    """Raise `InputError` where `accelerate launch` or `torchrun` started several of this process."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            f"this was launched with {os.environ['WORLD_SIZE']} processes, but it samples and judges in one; start it "
            f"with `alignkit`, not with `accelerate launch`, and {advice}."
        )


def main(argv: list[str] | None = None) -> int:
    """`METHOD [--config FILE] [--field value ...]`: the entry of the launcher, whichever runner the method has."""

    def run(method: str, config_path: str | None, overrides: list[str]) -> None:
        importlib.import_module(loop_runner(method)).run_loop(method, config_path, overrides)

    return run_entry(argv, run)
