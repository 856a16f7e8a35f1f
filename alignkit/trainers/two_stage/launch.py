"""Run a configured two-stage MPO: what `alignkit loop mpo` calls."""

import logging

from ...config import load_run
from ..iterative.launch import refuse_a_launcher


logger = logging.getLogger(__name__)


def run_loop(key: str, config_path: str | None, overrides: list[str]) -> str:
    """Run the stages of method `key`, or go on with them; return the path of the final model."""
    refuse_a_launcher("let it train on one device")
    from .runner import MPORunner

    runner = MPORunner(load_run(key, config_path, overrides))
    final = runner.run()
    logger.info("The final model is %s, also linked as %s", final, runner.folder / "final")
    return final
