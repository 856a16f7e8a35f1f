"""Stage `train`: the method's trainer on the pairs, from pi_t, with a fresh optimizer and scheduler."""

import shutil
from typing import Any

from ....catalog import get
from ..context import Context
from ..distributed import launch_training
from ..files import publish, read_rows, remove, temporary_path, write_text
from ..training import build_trainer, free_memory, training_config
from .record import dump


def train(context: Context) -> None:
    """Write `trained/`, the model after training, and `train_metrics.json`; in several processes where asked for."""
    if context.config.num_processes > 1:
        launch_training(context)
    else:
        train_here(context)


def train_here(context: Context) -> None:
    """Train in this process, which may be one of several.

    The trainer is always built at pi_t, and goes on from the newest checkpoint in `training/` if there is one: built
    at a checkpoint, a live reference would be that of a half-trained policy.
    """
    from datasets import Dataset

    folder, method = context.iteration_dir, get(context.state.method)
    output_dir = folder / "training"
    config = training_config(context, method.load_config(), str(output_dir))
    dataset = Dataset.from_list(read_rows(folder / "dataset.jsonl"))
    trainer = build_trainer(context, method.load_trainer(), config, context.state.policy, dataset)
    drop_reference_adapter(trainer)
    trainer.train(resume_from_checkpoint=any(output_dir.glob("checkpoint-*")))
    is_main, wait = trainer.accelerator.is_main_process, trainer.accelerator.wait_for_everyone
    target = temporary_path(folder / "trained")
    if is_main:
        write_text(folder / "train_metrics.json", dump(train_metrics(trainer)))
        shutil.rmtree(target, ignore_errors=True)
    wait()
    trainer.save_model(str(target))
    wait()
    trainer.end()
    del trainer
    free_memory()
    if is_main:
        publish(folder / "trained")
        remove(output_dir)


def drop_reference_adapter(trainer: Any) -> None:
    """Remove TRL's frozen copy of the start adapter: the references are columns, and a checkpoint should not hold it."""
    policy = trainer.accelerator.unwrap_model(trainer.model)
    if "ref" in getattr(policy, "peft_config", {}):
        policy.delete_adapter("ref")


def train_metrics(trainer: Any) -> dict[str, Any]:
    """Loss and reward margin at the first and the last logged step, steps and pairs."""
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    metrics = {"train/steps": trainer.state.global_step, "train/pairs": len(trainer.train_dataset)}
    for name in ("loss", "rewards/margins", "rewards/accuracies"):
        metrics[f"train/first_{name.replace('/', '_')}"] = logs[0].get(name)
        metrics[f"train/last_{name.replace('/', '_')}"] = logs[-1].get(name)
    return metrics
