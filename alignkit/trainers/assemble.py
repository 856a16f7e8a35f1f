"""A trainer for one stage of a larger run: its own starting model, configuration and data, the rest as the run says."""

from dataclasses import fields, replace
from typing import Any

from ..config import Run


def stage_config(run: Run, config_class: type, own: dict[str, Any]) -> Any:
    """The configuration of a stage: what the run gives and the class knows, then what the stage sets itself.

    Raises `ValueError` for what the class refuses.
    """
    names = {item.name for item in fields(config_class) if item.init}
    given = {name: value for name, value in run.given.items() if name in names}
    return config_class(
        **{**given, "eval_strategy": "no", "push_to_hub": False, "resume_from_checkpoint": None, **own}
    )


def assemble(run: Run, trainer_class: type, training: Any, start: str, dataset: Any, **arguments: Any) -> Any:
    """The trainer of a stage, at `start` (a name or path that can be loaded); nothing is trained yet.

    A full model gets the run's LoRA adapter, if any; an adapter is trained on, and TRL keeps a frozen copy of it.
    """
    from trl import get_peft_config

    from .launch import policy
    from .run_facts import changed_fields

    stage = replace(run, model=replace(run.model, model_name_or_path=start), training=training)
    loaded, quantization = policy(stage)
    starts_from_adapter = not isinstance(loaded, str)
    trainer = trainer_class(
        model=loaded,
        args=training,
        train_dataset=dataset,
        quantization_config=None if starts_from_adapter else quantization,
        peft_config=None if starts_from_adapter else get_peft_config(run.model),
        **arguments,
    )
    trainer.model_source = run.model.model_name_or_path
    trainer.model_revision = run.model.model_revision
    trainer.model_settings = changed_fields(run.model)
    trainer.dataset_name = [item.path for item in run.mixture.datasets] or run.script.dataset_name
    return trainer
