"""What made a checkpoint: method, configuration, data and versions, written beside the weights."""

import importlib.metadata
import inspect
import json
import os
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any


FILE_NAME = "alignkit_run.json"
# Of no use to a reader of the model.
_LOCAL = {
    "bf16_full_eval",
    "dataloader_pin_memory",
    "ddp_find_unused_parameters",
    "debug",
    "disable_tqdm",
    "hub_token",
    "latents_dir",
    "logging_dir",
    "logging_first_step",
    "logging_steps",
    "model_init_kwargs",
    "output_dir",
    "overwrite_output_dir",
    "pad_to_multiple_of",
    "push_to_hub_token",
    "reference_cache_dir",
    "report_to",
    "resume_from_checkpoint",
    "run_name",
    "save_steps",
    "save_strategy",
    "save_total_limit",
    "use_cpu",
}
_VERSIONS = (
    "alignkit",
    "trl",
    "transformers",
    "peft",
    "datasets",
    "accelerate",
    "torch",
    "bitsandbytes",
    "diffusers",
)


class RunFactsMixin:
    """Mixin for trainers: every saved model carries `alignkit_run.json`, from which export writes the model card."""

    args: Any
    method_key: str = ""
    dataset_name: str | list[str] | None = None
    model_source: str | None = None
    model_revision: str | None = None
    model_settings: dict[str, Any] = {}  # how the model was loaded and adapted: LoRA and quantisation fields

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False):
        super().save_model(output_dir, _internal_call)  # type: ignore[misc]
        if self.args.should_save:
            write_run_facts(self, output_dir or self.args.output_dir)


def run_facts(trainer) -> dict[str, Any]:
    """The facts of a run: {method, versions, model, dataset, config (what differs from the defaults), seed}."""
    args = trainer.args
    quantised = {"load_in_4bit": True} if getattr(trainer.model, "is_loaded_in_4bit", False) else {}
    return {
        "method": trainer.method_key,
        "alignkit_version": _version("alignkit"),
        "versions": {name: version for name in _VERSIONS if (version := _version(name)) is not None},
        "model_name_or_path": trainer.model_source or trainer.model.config._name_or_path,
        "model_revision": trainer.model_revision,
        "dataset": trainer.dataset_name,
        "config": {**changed_fields(args), **trainer.model_settings, **quantised},
        "seed": args.seed,
    }


def changed_fields(args) -> dict[str, Any]:
    """Fields of a config that tell a reader how the model was made: the method's own, and what was changed.

    Where the run wrote, logged and how it was placed on its device is left out.
    """
    changed = {}
    for item in fields(args):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        value = getattr(args, item.name, None)
        is_own = item.name in _own_fields(type(args))
        if item.init and item.name not in _LOCAL and (is_own or value != default) and _is_plain(value):
            changed[item.name] = value
    return changed


def _own_fields(config_class: type) -> set[str]:
    """Names that the classes of this package add to or override in TRL's."""
    classes = [item for item in config_class.__mro__ if item.__module__.startswith("alignkit.")]
    return {"beta", "loss_type", *(name for item in classes for name in inspect.get_annotations(item))}


def write_run_facts(trainer, folder: str) -> None:
    """Write the facts into `folder`, whole or not at all."""
    path = Path(folder) / FILE_NAME
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(run_facts(trainer), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
