"""The trainer of a run, or of one stage of it: starting model, configuration and data given, the rest as the run says."""

import os
from dataclasses import fields, replace
from typing import Any

from ..config import Run
from ..data.bundled import resolve_model
from ..errors import InputError
from .run_facts import changed_fields


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
    """The trainer at `start` (a name or path that can be loaded); nothing is trained yet.

    A full model gets the run's LoRA adapter, if any; an adapter is trained on, and TRL keeps a frozen copy of it.
    """
    from trl import get_peft_config

    from ..generation.transformers_backend import avoid_packed_kernel

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
    avoid_packed_kernel(trainer.model, trained=True)
    trainer.model_source = run.model.model_name_or_path
    trainer.model_revision = run.model.model_revision
    trainer.model_settings = changed_fields(run.model)
    trainer.dataset_name = [item.path for item in run.mixture.datasets] or run.script.dataset_name
    return trainer


def policy(run: Run) -> tuple[Any, Any]:
    """The policy to train and its quantisation: a model name for the trainer to load, or an adapter put on its base.

    An adapter folder given as `model_name_or_path` is trained on; TRL copies it as the frozen reference. (Named to
    `from_pretrained`, `transformers` would merge it into the module tree and train the base instead.)
    """
    from trl import get_quantization_config

    if not run.model.model_name_or_path:
        raise InputError("`model_name_or_path` is missing: name a model, an adapter folder or `bundled/tiny-math`.")
    name = resolve_model(run.model.model_name_or_path)
    quantization = get_quantization_config(run.model)
    init_kwargs = {
        "revision": run.model.model_revision,
        "attn_implementation": run.model.attn_implementation,
        "dtype": run.model.dtype,
        **(run.training.model_init_kwargs or {}),
    }
    if not os.path.isfile(os.path.join(name, "adapter_config.json")):
        run.training.model_init_kwargs = init_kwargs
        return name, quantization

    from peft import PeftConfig, PeftModel, prepare_model_for_kbit_training
    from trl.trainer.utils import create_model_from_path

    base = PeftConfig.from_pretrained(name).base_model_name_or_path
    init_kwargs.pop("revision")  # that of the adapter, not of its base
    if quantization is not None:
        init_kwargs["quantization_config"] = quantization
    model = create_model_from_path(resolve_model(base), **init_kwargs)
    if quantization is not None:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=run.training.gradient_checkpointing)
    run.training.model_init_kwargs = None
    return PeftModel.from_pretrained(model, name, is_trainable=True), None
