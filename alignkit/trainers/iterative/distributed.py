"""Training of one iteration in several processes: this one waits for those that `accelerate launch` starts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from ...config import load_run
from ...errors import InputError
from ...judges import Judge
from . import loop_method
from .context import Context
from .files import remove, write_text
from .prepare import load_rule
from .state import LoopState


# What each of the processes reads: the settings of the run as they were given.
SETTINGS = "launched_settings.json"
# `accelerate launch`, which ends with the loop: a killed loop leaves no training behind.
LAUNCHER = (
    "from alignkit.trainers.launch import die_with_parent; die_with_parent(); "
    "from accelerate.commands.launch import main; main()"
)


def launch_training(context: Context) -> None:
    """Let `num_processes` processes write `trained/`. They end with this one, whatever ends it.

    Raises `InputError` where they do not write it; what went wrong stands in their own messages.
    """
    config, folder = context.config, context.iteration_dir
    settings = folder / SETTINGS
    write_text(settings, json.dumps(context.run.given) + "\n")
    worker = ["-m", "alignkit.trainers.iterative", context.state.method, "--config", str(settings)]
    code = subprocess.call([sys.executable, "-c", LAUNCHER, *launch_flags(config), *worker])
    if code or not (folder / "trained").is_dir():
        raise InputError(
            f"training in {config.num_processes} processes ended with exit code {code} (see their messages above); the "
            "same command again goes on from the newest checkpoint."
        )
    remove(settings)


def launch_flags(config: Any) -> list[str]:
    """Flags of `accelerate launch`; a free port is taken, so that several loops may run on one machine.

    `--multi_gpu` stands for several processes of any kind: with `--cpu` accelerate starts one, whatever is asked for.
    """
    flags = ["--num_processes", str(config.num_processes)]
    if config.accelerate_config:
        return [*flags, "--config_file", config.accelerate_config]
    own = {"num_machines": "1", "mixed_precision": "no", "dynamo_backend": "no", "main_process_port": "0"}
    return ["--multi_gpu", *flags, *(text for name, value in own.items() for text in (f"--{name}", value))]


def work(key: str, config_path: str | None, overrides: list[str]) -> None:
    """One of the processes: train the iteration that the run's state says is running."""
    from .stages.train import train_here

    run = load_run(loop_method(key), config_path, overrides)
    folder = Path(run.training.output_dir)
    if run.training.world_size != run.training.num_processes:
        raise InputError(
            f"{run.training.world_size} processes train, but `num_processes` is {run.training.num_processes}; let the "
            "`accelerate_config` say the same."
        )
    state = LoopState.load(folder)
    if state is None:
        raise InputError(f"{folder} holds no run; start it with `alignkit loop {key}`.")
    nobody = cast(Judge, None)  # training asks no judge
    train_here(Context(run, load_rule(run), nobody, folder, state))
