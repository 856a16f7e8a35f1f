"""`python -m alignkit.cli.training METHOD --config FILE`: one training process, as `accelerate launch` starts it.

What `alignkit train` and the scripts in `trainers/` call too. Trainers and the evaluation harness do not know each other;
here a run gets both.
"""

import sys
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from alignkit.config import Run


def measure_suites(run: "Run", trainer: Any) -> None:
    """Measure the suites that a run's `eval_suite` names, while it is trained."""
    if run.evaluation.eval_suite:
        from alignkit.eval.callback import add_eval_suite

        limit = run.evaluation.eval_suite_max_new_tokens
        add_eval_suite(trainer, run.evaluation.eval_suite, max_new_tokens=limit)


def main(argv: list[str] | None = None) -> int:
    """Train as `METHOD [--config FILE] [--field value ...]` says; the exit code."""
    from alignkit.trainers import launch

    return launch.main(argv, prepare=[measure_suites])


if __name__ == "__main__":
    from alignkit.trainers.launch import die_with_parent

    die_with_parent()
    sys.exit(main())
