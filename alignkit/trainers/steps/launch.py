"""Run a configured direct advantage: what `alignkit loop direct_advantage` calls."""

import logging

from ...config import load_run
from ..iterative.launch import refuse_a_launcher


logger = logging.getLogger(__name__)


def run_loop(key: str, config_path: str | None, overrides: list[str]) -> str:
    """Run the stages of method `key`, or go on with them; return the path of the final policy."""
    refuse_a_launcher("let it train on one device")
    from .runner import DirectAdvantageRunner

    runner = DirectAdvantageRunner(load_run(key, config_path, overrides))
    final = runner.run()
    logger.info("The final policy is %s, also linked as %s", final, runner.folder / "final")
    return final
