"""Momentum in weight space: theta + alpha (theta - theta_previous), written as a model folder of the same kind."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch

from ...config import Run
from ...errors import InputError
from ...generation import ModelSource
from ...objectives.preference import apo_accelerated_extrapolate


ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
INDEX = "model.safetensors.index.json"
# What of a LoRA configuration makes the update of the weights anything but scale * B A with one rank and scale.
NOT_PLAIN_LORA = {
    "use_dora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "bias": "none",
    "lora_bias": False,
    "modules_to_save": None,
    "target_parameters": None,
    "trainable_token_indices": None,
    "layer_replication": None,
}


def extrapolate(trained: ModelSource, previous: ModelSource, alpha: float, target: Path) -> None:
    r"""Write \( (1+\alpha)\,\theta_{trained} - \alpha\,\theta_{previous} \) into the folder `target`.

    Full models: every floating-point tensor, in float32 and cast back; others are copied. LoRA: the merged updates
    \( s B A \) are extrapolated, exactly, as one adapter whose rank is the sum of both (`previous` may be the base
    itself, which adds none). A and B by themselves must not be: their product is not linear in them.

    Raises `InputError` where the two do not fit together.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    folder = Path(trained.path)
    for file in folder.iterdir():
        if file.is_file() and not file.name.endswith(".safetensors"):
            shutil.copy2(file, target / file.name)
    if trained.is_adapter:
        _extrapolate_adapter(folder, previous, alpha, target)
    else:
        _extrapolate_model(folder, previous, alpha, target)


def check_run_extrapolates(run: Run, start: ModelSource) -> None:
    """Raise `InputError` for a run whose adapter could not be extrapolated after its first training.

    The fields are those of `trl.ModelConfig`, or what the adapter that the run starts from says of itself.
    """
    if start.is_adapter:
        if Path(start.path).is_dir():
            _adapter_config(Path(start.path))
        return
    if not run.model.use_peft:
        return
    given = {
        "use_dora": run.model.use_dora,
        "modules_to_save": run.model.lora_modules_to_save,
        "target_parameters": run.model.lora_target_parameters,
    }
    check_plain_lora({name: value for name, value in given.items() if value}, "the LoRA adapter of this run")


def check_plain_lora(config: dict[str, Any], name: str) -> None:
    """Raise `InputError` for an adapter whose update is not scale * B A with one rank."""
    if config.get("peft_type", "LORA") != "LORA":
        raise InputError(f"{name} has `peft_type` {config['peft_type']}; apo_accelerated extrapolates LoRA adapters.")
    for field, plain in NOT_PLAIN_LORA.items():
        if config.get(field) and config[field] != plain:
            raise InputError(f"{name} has `{field}` {config[field]!r}; apo_accelerated extrapolates plain LoRA only.")


def _extrapolate_adapter(folder: Path, previous: ModelSource, alpha: float, target: Path) -> None:
    from safetensors.torch import load_file, save_file

    config = _adapter_config(folder)
    tensors = load_file(folder / ADAPTER_WEIGHTS)
    scale = _scale(config)
    rank = config["r"]
    old: dict[str, torch.Tensor] = {}
    if previous.is_adapter:
        old_config = _adapter_config(Path(previous.path))
        old = load_file(Path(previous.path) / ADAPTER_WEIGHTS)
        _require_same_keys(tensors, old, previous.path)
        # In units of the new adapter's scale.
        factor = -alpha * _scale(old_config) / scale
        rank += old_config["r"]
    merged = {}
    for name, tensor in tensors.items():
        is_b = "lora_B" in name or "lora_embedding_B" in name
        part = tensor.float() * (1 + alpha) if is_b else tensor.float()
        if old:
            other = old[name].float() * factor if is_b else old[name].float()
            part = torch.cat([part, other], dim=1 if is_b else 0)
        merged[name] = part.contiguous()
    save_file(merged, target / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    alpha_of_rank = scale * (math.sqrt(rank) if config.get("use_rslora") else rank)
    (target / ADAPTER_CONFIG).write_text(
        json.dumps({**config, "r": rank, "lora_alpha": alpha_of_rank}, indent=2) + "\n", encoding="utf-8"
    )


def _adapter_config(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    check_plain_lora(config, str(folder))
    return config


def _scale(config: dict[str, Any]) -> float:
    """What PEFT multiplies B A by."""
    return config["lora_alpha"] / (math.sqrt(config["r"]) if config.get("use_rslora") else config["r"])


def _extrapolate_model(folder: Path, previous: ModelSource, alpha: float, target: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    old_folder = _local_folder(previous)
    old_files = _files_by_key(old_folder)
    _require_same_keys(_files_by_key(folder), old_files, previous.path)
    for file in sorted(folder.glob("*.safetensors")):
        tensors = load_file(file)
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                continue
            with safe_open(old_files[name], framework="pt") as stream:
                old = stream.get_tensor(name)
            if old.shape != tensor.shape:
                raise InputError(
                    f"{name} has shape {list(tensor.shape)} in {file} and {list(old.shape)} in {old_files[name]}."
                )
            tensors[name] = apo_accelerated_extrapolate(tensor, old, alpha)
        save_file(tensors, target / file.name, metadata={"format": "pt"})


def _local_folder(source: ModelSource) -> Path:
    if Path(source.path).is_dir():
        return Path(source.path)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source.path, revision=source.revision, allow_patterns=["*.safetensors", "*.json"]))


def _files_by_key(folder: Path) -> dict[str, Path]:
    """{name of a tensor: its file} of a model folder."""
    from safetensors import safe_open

    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise InputError(f"{folder} holds no .safetensors weights; save the model with `save_pretrained` again.")
    keys: dict[str, Path] = {}
    for file in files:
        with safe_open(file, framework="pt") as stream:
            keys.update(dict.fromkeys(stream.keys(), file))
    # A tied head is saved once, or twice by older versions; it moves with the embeddings.
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("tie_word_embeddings") and "model.embed_tokens.weight" in keys:
        keys.pop("lm_head.weight", None)
    return keys


def _require_same_keys(new: dict[str, Any], old: dict[str, Any], where: str) -> None:
    """Refuse two checkpoints that do not hold the same tensors."""
    different = sorted(new.keys() ^ old.keys())
    if different:
        raise InputError(
            f"the trained model and {where} do not hold the same tensors ({len(different)} differ, e.g. {different[0]}); "
            "momentum needs two checkpoints of one architecture."
        )
