"""The three stages: functions from the files of the run's folder to one more, which is there whole or not at all."""

import shutil
from pathlib import Path
from typing import Any

from ...catalog import get
from ...config import Run
from ...config.fields import class_fields, nearest
from ...config.run import _convert
from ...errors import InputError
from ...judges import Judge
from ...rewards import JudgeReward, guard_reward
from ..assemble import assemble, stage_config
from ..iterative.files import publish, read_rows, remove, temporary_path, write_text
from ..iterative.stages.record import dump
from ..iterative.stages.train import drop_reference_adapter
from ..iterative.training import free_memory
from .rl import RL_TRAINERS, check_start, load_rl
from .selection import Rows, select, write_selection


WATCHED = (
    "loss",
    "rewards/margins",
    "rewards/accuracies",
    "reward",
    "kl",
    "objective/kl",
    "rewards/reward/none",
    "completions/mean_length",
)


def run_select(run: Run, folder: Path, rows: Rows, judge: Judge, source: str) -> None:
    """Write `select/`: `easy.jsonl`, `hard.jsonl` and the facts of the split."""
    log_path = folder / "scores.partial.jsonl"
    selection = select(rows, run.training, judge, log_path, source)
    target = temporary_path(folder / "select")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    write_selection(target, selection)
    publish(folder / "select")
    remove(log_path)


def run_dpo(run: Run, folder: Path, start: str) -> None:
    """Write `dpo/`, the model after DPO on the easy pairs: start and reference of the next stage."""
    from datasets import Dataset

    method = get("dpo")
    config = stage_training(run, "dpo", folder)
    dataset = Dataset.from_list(read_rows(folder / "select" / "easy.jsonl"))
    train_stage(folder, "dpo", assemble(run, method.load_trainer(), config, start, dataset))


def run_rl(run: Run, folder: Path, judge: Judge) -> None:
    """Write `rl/`, the model after RL on the prompts of the hard pairs.

    The trainer is always built at `dpo/`, whatever checkpoint it then goes on from: built at a checkpoint, the reference
    would be a half-trained policy.
    """
    from datasets import Dataset

    start = str(folder / "dpo")
    config = stage_training(run, "rl", folder)
    dataset = Dataset.from_list(read_rows(folder / "select" / "hard.jsonl"))
    _, trainer_class = load_rl(run.training.rl_trainer)
    reward = guard_reward(JudgeReward(judge), "reward")
    trainer = assemble(run, trainer_class, config, start, dataset, reward_funcs=reward)
    check_start(trainer, start)
    train_stage(folder, "rl", trainer)
    judge.unload()


def stage_training(run: Run, stage: str, folder: Path) -> Any:
    """The trainer configuration of a stage, with folder, seed and beta of its own.

    Raises `InputError` naming a field that the stage's trainer does not have, or a value it refuses.
    """
    config = run.training
    path = get("dpo").config if stage == "dpo" else RL_TRAINERS[config.rl_trainer].config
    config_class = get("dpo").load_config() if stage == "dpo" else load_rl(config.rl_trainer)[0]
    strength = "beta" if stage == "dpo" else RL_TRAINERS[config.rl_trainer].kl_field
    reserved = {strength: f"set `beta_{stage}`"}
    own = own_fields(getattr(config, stage), path, config_class, stage, reserved)
    beta = config.beta_dpo if stage == "dpo" else config.beta_rl
    output_dir = str(folder / f"{stage}_training")
    try:
        return stage_config(
            run,
            config_class,
            {"seed": config.seed, "logging_first_step": True, **own, "output_dir": output_dir, strength: beta},
        )
    except (ValueError, TypeError) as error:
        raise InputError(f"stage `{stage}`: {' '.join(str(error).split())}") from error


def own_fields(
    given: dict[str, Any], path: str, config_class: type, stage: str, reserved: dict[str, str]
) -> dict[str, Any]:
    """The fields under the name of a stage, converted to what its trainer's config expects.

    `reserved` holds those that the run itself sets, {field: what to do instead}.
    """
    import typing

    known = class_fields(path)
    kinds = typing.get_type_hints(config_class)
    for name in given:
        if name not in known or name in reserved:
            hint = reserved.get(name) or nearest(str(name), known)
            raise InputError(f"`{stage}` has no field `{name}`; {hint}")
    return {name: _convert(value, kinds[name], f"`{stage}`: `{name}`") for name, value in given.items()}


def train_stage(folder: Path, stage: str, trainer: Any, watched: tuple[str, ...] = WATCHED) -> None:
    """Train, or go on from the newest checkpoint, and write the model to `stage/` and its `watched` numbers beside it."""
    output_dir = folder / f"{stage}_training"
    trainer.train(resume_from_checkpoint=any(output_dir.glob("checkpoint-*")))
    write_text(folder / f"{stage}_metrics.json", dump(train_metrics(trainer, watched)))
    drop_reference_adapter(trainer)
    target = temporary_path(folder / stage)
    shutil.rmtree(target, ignore_errors=True)
    trainer.save_model(str(target))
    if hasattr(trainer, "end"):
        trainer.end()
    del trainer
    free_memory()
    publish(folder / stage)
    remove(output_dir)


def train_metrics(trainer: Any, watched: tuple[str, ...]) -> dict[str, Any]:
    """Steps, and the watched numbers at the first and the last step that logged them."""
    metrics: dict[str, Any] = {"steps": trainer.state.global_step, "rows": len(trainer.train_dataset)}
    for name in watched:
        values = [entry[name] for entry in trainer.state.log_history if name in entry]
        if values:
            metrics[f"first_{name}"], metrics[f"last_{name}"] = values[0], values[-1]
    return metrics
