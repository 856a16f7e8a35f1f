"""Build the trainer of a configured run and train it: `alignkit.cli.training` calls it."""

import ctypes
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..config import Run, load_run
from ..data import load_for_run
from ..errors import InputError
from .assemble import assemble
from .entry import run_entry


# Called with the run and its trainer before the first step.
Hook = Callable[[Run, Any], None]


def train(run: Run, prepare: Sequence[Hook] = ()):
    """Train as configured, save the model into `output_dir`, and return the trainer (of an ensemble, its state).

    Args:
        run: the configuration.
        prepare: hooks that may add to the trainer, such as the measuring of `eval_suite`, which this room does not know.

    Raises:
        InputError: where the run names an `eval_suite` and no hook is there to measure it.
    """
    if run.evaluation.eval_suite and not prepare:
        raise InputError(
            "`eval_suite` is measured by `alignkit train` and `alignkit.cli.training`; called directly, "
            "`alignkit.trainers.launch.train` needs the hook `alignkit.cli.training.measure_suites`."
        )
    if getattr(run.training, "ensemble", None) is not None:
        from .reward_ensemble import train_ensemble

        return train_ensemble(run)
    trainer = build_trainer(run)
    for hook in prepare:
        hook(run, trainer)
    resume = resume_argument(run.training.resume_from_checkpoint)
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(run.training.output_dir)
    trainer.save_state()
    trainer.accelerator.print(f"Saved to {run.training.output_dir}")
    if run.training.push_to_hub:
        trainer.push_to_hub(dataset_name=trainer.dataset_name)
    trainer.end()
    return trainer


def build_trainer(run: Run):
    """Return the trainer of a run: data loaded, model named or loaded, nothing trained yet."""
    if run.method.family == "diffusion":
        from .diffusion.launch import build_diffusion_trainer

        return build_diffusion_trainer(run)
    evaluates = run.training.eval_strategy != "no"
    train_dataset, eval_dataset, _ = load_for_run(run.script, run.mixture, run.training.seed, evaluates)
    trainer_class = run.method.load_trainer()
    start = run.model.model_name_or_path
    return assemble(run, trainer_class, run.training, start, train_dataset, eval_dataset=eval_dataset)


def resume_argument(value: str | bool | None) -> str | bool | None:
    """`--resume_from_checkpoint true` arrives as text; transformers would take it for a folder."""
    if isinstance(value, str) and value.lower() in ("true", "yes", "1"):
        return True
    if isinstance(value, str) and value.lower() in ("false", "no", "0", "none"):
        return None
    return value


def die_with_parent() -> None:
    """On Linux, end this process when the one that launched it ends: a killed launcher leaves no training behind."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main(argv: list[str] | None = None, prepare: Sequence[Hook] = ()) -> int:
    """`METHOD [--config FILE] [--field value ...]`: the entry of every process that `accelerate launch` starts."""

    def action(method: str, config_path: str | None, overrides: list[str]) -> None:
        train(load_run(method, config_path, overrides), prepare)

    return run_entry(argv, action)
