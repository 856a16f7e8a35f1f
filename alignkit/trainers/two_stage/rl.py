"""The second stage's trainers, by name. A new one is a line in `RL_TRAINERS` and takes the arguments of RLOO's."""

import importlib
from typing import Any, NamedTuple


class RLStage(NamedTuple):
    """A trainer of the second stage.

    Attributes:
        config, trainer: `"module:Class"`; the trainer takes model, reward_funcs, args, train_dataset, peft_config and
            quantization_config.
        kl_field: field of its config that weighs the KL to the reference in the reward.
    """

    config: str
    trainer: str
    kl_field: str


RL_TRAINERS = {
    "rloo": RLStage(
        "alignkit.trainers.two_stage.rloo:RLOOConfig", "alignkit.trainers.two_stage.rloo:RLOOTrainer", "beta"
    ),
    "ppo": RLStage("alignkit.trainers.ppo.config:PPOConfig", "alignkit.trainers.ppo.base:PPOTrainer", "kl_coef"),
}


def load_rl(name: str) -> tuple[type, type]:
    """Import the (config, trainer) of the second stage (heavy)."""

    def load(path: str) -> type:
        module, attribute = path.split(":")
        return getattr(importlib.import_module(module), attribute)

    stage = RL_TRAINERS[name]
    return load(stage.config), load(stage.trainer)


def check_start(trainer: Any, start: str) -> None:
    """Raise `RuntimeError` unless the second stage's reference is the model of the first.

    TRL loads the reference of a full model from the name in its config, and copies an adapter.
    """
    policy = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(policy, "peft_config"):
        if "ref" not in policy.peft_config:
            raise RuntimeError(f"the adapter of {start} has no frozen copy: the reference would be the base model.")
    elif trainer.ref_model is None or trainer.ref_model.config._name_or_path != start:
        raise RuntimeError(f"the reference of the second stage is not the model in {start}.")
