"""Trainers of an iteration: the method's own, and the plain one that computes reference log-probabilities."""

import gc
from typing import Any

from ..assemble import assemble, stage_config
from .context import Context


def training_config(context: Context, config_class: type, output_dir: str) -> Any:
    """The trainer configuration of this iteration: what the run gives, with a folder and a seed of its own.

    Reference log-probabilities are read from the data set, where the stage `reference` put them.
    """
    own = {
        "output_dir": output_dir,
        "seed": context.state.base_seed + context.state.iteration,
        "precompute_ref_log_probs": True,
        "logging_first_step": True,
    }
    return stage_config(context.run, config_class, own)


def build_trainer(context: Context, trainer_class: type, training: Any, model: str, dataset: Any) -> Any:
    """A trainer that starts from `model`, a path of the state; the first model of the run gets the LoRA adapter."""
    return assemble(context.run, trainer_class, training, context.model_path(model), dataset)


def free_memory() -> None:
    """Give back what a dropped model held."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
