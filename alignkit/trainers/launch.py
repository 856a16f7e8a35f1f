"""Build the trainer of a configured run and train it: what `alignkit train` and the scripts in `trainers/` call."""

import ctypes
import logging
import os
import signal
import sys
from typing import Any

from ..config import Run
from ..data import load_for_run
from ..data.bundled import resolve_model
from ..errors import InputError
from .run_facts import changed_fields


logger = logging.getLogger(__name__)


def train(run: Run):
    """Train as configured, save the model into `output_dir`, and return the trainer."""
    trainer = build_trainer(run)
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
    from trl import get_peft_config

    evaluates = run.training.eval_strategy != "no"
    train_dataset, eval_dataset, _ = load_for_run(run.script, run.mixture, run.training.seed, evaluates)
    model, quantization = policy(run)
    starts_from_adapter = not isinstance(model, str)
    trainer = run.method.load_trainer()(
        model=model,
        args=run.training,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        quantization_config=None if starts_from_adapter else quantization,
        peft_config=None if starts_from_adapter else get_peft_config(run.model),
    )
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


def main(argv: list[str] | None = None) -> int:
    """`METHOD [--config FILE] [--field value ...]`: the entry of every process that `accelerate launch` starts."""
    from ..config import load_run

    argv = sys.argv[1:] if argv is None else list(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if not argv or argv[0].startswith("-"):
            raise InputError("the first argument is the method, e.g. `madpo`.")
        method, config_path, overrides = argv[0], None, argv[1:]
        if "--config" in overrides:
            position = overrides.index("--config")
            config_path = overrides[position + 1]
            overrides = overrides[:position] + overrides[position + 2 :]
        train(load_run(method, config_path, overrides))
    except InputError as error:
        print(f"alignkit: error: {error}", file=sys.stderr)
        return 2
    return 0
