"""Trainers of an iteration: the method's own, and the plain one that computes reference log-probabilities."""

import gc
from dataclasses import fields
from typing import Any

from .context import Context


def training_config(context: Context, config_class: type, output_dir: str) -> Any:
    """The trainer configuration of this iteration: what the run gives, with a folder and a seed of its own.

    Reference log-probabilities are read from the data set, where the stage `reference` put them.
    """
    names = {item.name for item in fields(config_class) if item.init}
    given = {name: value for name, value in context.run.given.items() if name in names}
    return config_class(
        **{
            **given,
            "output_dir": output_dir,
            "seed": context.state.base_seed + context.state.iteration,
            "precompute_ref_log_probs": True,
            "eval_strategy": "no",
            "logging_first_step": True,
            "push_to_hub": False,
            "resume_from_checkpoint": None,
        }
    )


def build_trainer(context: Context, trainer_class: type, training: Any, model: str, dataset: Any) -> Any:
    """A trainer that starts from `model`, a path of the state; the first model of the run gets the LoRA adapter."""
    from trl import get_peft_config

    from ..launch import policy
    from ..run_facts import changed_fields

    run = context.run_from(model, training)
    loaded, quantization = policy(run)
    starts_from_adapter = not isinstance(loaded, str)
    trainer = trainer_class(
        model=loaded,
        args=training,
        train_dataset=dataset,
        quantization_config=None if starts_from_adapter else quantization,
        peft_config=None if starts_from_adapter else get_peft_config(run.model),
    )
    trainer.model_source = context.run.model.model_name_or_path
    trainer.model_revision = context.run.model.model_revision
    trainer.model_settings = changed_fields(context.run.model)
    mixture = [item.path for item in context.run.mixture.datasets]
    trainer.dataset_name = mixture or context.run.script.dataset_name
    return trainer


def free_memory() -> None:
    """Give back what a dropped model held."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
