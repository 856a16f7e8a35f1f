"""The trainer of a configured run of a diffusion method."""

from typing import Any

from ...config import Run
from ...errors import InputError
from ..run_facts import changed_fields
from .families import family_class
from .lora import lora_config
from .pipelines import load_pipeline, local_name, pipeline_index


# Fields of TRL's `ModelConfig` that mean nothing for a denoiser, or cannot be kept by two adapters and diffusers' format.
_UNUSED = ("load_in_4bit", "load_in_8bit", "attn_implementation", "lora_modules_to_save", "lora_target_parameters")


def build_diffusion_trainer(run: Run) -> Any:
    """Return the trainer of a run: data checked, pipeline loaded, images and prompts encoded, nothing trained yet.

    Raises:
        InputError: for settings that do not go together, data that cannot be read, or a pipeline that cannot be trained.
    """
    check_settings(run)
    trainer_class = run.method.load_trainer()
    name = local_name(run.model.model_name_or_path)
    index = pipeline_index(name, run.model.model_revision)
    targets = family_class(index["_class_name"]).lora_targets
    train, evaluation = load_data(run)
    pipeline = load_pipeline(name, run.model.model_revision, run.training.variant, run.model.dtype)
    trainer = trainer_class(
        model=pipeline,
        args=run.training,
        train_dataset=train,
        eval_dataset=evaluation,
        peft_config=lora_config(run.model, run.given, targets),
    )
    trainer.model_source = run.model.model_name_or_path
    trainer.model_revision = run.model.model_revision
    trainer.model_settings = changed_fields(run.model)
    trainer.dataset_name = run.script.dataset_name
    return trainer


def check_settings(run: Run) -> None:
    """Raise `InputError` for settings of the model that a diffusion trainer cannot follow."""
    model, training = run.model, run.training
    for name in _UNUSED:
        if getattr(model, name):
            raise InputError(
                f"`{name}` is {getattr(model, name)!r}; the diffusion methods do not take it, leave it out."
            )
    if model.dtype in ("bfloat16", "float16"):
        if not model.use_peft:
            raise InputError(
                f"`dtype` is {model.dtype}; without `use_peft` every weight is trained and needs float32."
            )
        if not (training.bf16 or training.fp16):
            raise InputError(f"`dtype` is {model.dtype}; set `bf16: true` or `fp16: true` with it.")
    if run.mixture.datasets:
        raise InputError("`datasets` is set; the diffusion methods read one data set, name it in `dataset_name`.")


def load_data(run: Run) -> tuple[Any, Any]:
    """The training data and, where the run evaluates, the evaluation data; their images are decoded when read."""
    from ...data.diffusion import load_images

    if run.script.dataset_streaming:
        raise InputError(
            "`dataset_streaming` is true; the diffusion methods encode the whole data set, set it to false."
        )
    if not run.script.dataset_name:
        raise InputError("no data set is named; set `dataset_name` (e.g. bundled/shapes_preference).")

    def one(split: str):
        return load_images(run.script.dataset_name, split, run.method.columns, run.script.dataset_config)

    evaluates = run.training.eval_strategy != "no"
    return one(run.script.dataset_train_split), one(run.script.dataset_test_split) if evaluates else None
