"""Finding what to export: an adapter or a full model, in a run's output folder or one of its checkpoints."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError


ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
MODEL_CONFIG = "config.json"
MODEL_WEIGHTS = "model.safetensors"
MODEL_INDEX = "model.safetensors.index.json"

_CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A complete set of weights on disk.

    Attributes:
        path: the folder that holds them.
        kind: `"adapter"` or `"model"`.
        run_folder: the run's output folder, where its facts and perhaps its tokenizer lie (may equal `path`).
        weights: names of the weight files, relative to `path`.
        note: one sentence on how the folder was chosen, or `None` if it is the one that was named.
    """

    path: Path
    kind: str
    run_folder: Path
    weights: tuple[str, ...]
    note: str | None = None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise `InputError` naming the file if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, found {type(content).__name__}.")
    return content


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor of a safetensors file; raise `InputError` if it is cut off or not one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a complete safetensors file ({error}).") from error


def find_checkpoint(folder: str | Path) -> Checkpoint:
    """Return the weights that `folder` stands for: its own, else those of its newest complete `checkpoint-N`.

    Raises:
        InputError: the folder does not exist, holds no weights, or holds weights that cannot be exported; says which
            file is missing or broken.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"checkpoint {str(folder)!r} is not a folder; give a run's output_dir or a checkpoint-N in it."
        )
    if _has_weights_or_config(folder):
        run_folder = folder.parent if _CHECKPOINT_NAME.fullmatch(folder.resolve().name) else folder
        return _open(folder, run_folder, None)

    numbered = sorted(
        ((int(match[1]), child) for child in folder.iterdir() if (match := _CHECKPOINT_NAME.fullmatch(child.name))),
        reverse=True,
    )
    if not numbered:
        raise InputError(_explain_no_weights(folder))
    faults: list[str] = []
    for _, child in numbered:
        try:
            found = _open(child, folder, None)
        except InputError as error:
            faults.append(str(error))
            continue
        note = f"{folder} holds no final model, so {child.name}, its newest complete checkpoint, was taken"
        if faults:
            note += f" ({len(faults)} newer one{'s' if len(faults) > 1 else ''} passed over: {faults[0].rstrip('.')})"
        return Checkpoint(found.path, found.kind, found.run_folder, found.weights, note + ".")
    raise InputError(f"{folder} has no complete checkpoint: {faults[0]}")


def _has_weights_or_config(folder: Path) -> bool:
    names = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, "adapter_model.bin", MODEL_WEIGHTS, MODEL_INDEX, "pytorch_model.bin")
    return any((folder / name).exists() for name in names)


def _open(folder: Path, run_folder: Path, note: str | None) -> Checkpoint:
    if (folder / ADAPTER_CONFIG).exists() or (folder / ADAPTER_WEIGHTS).exists():
        _require(folder, ADAPTER_CONFIG)
        read_json(folder / ADAPTER_CONFIG)
        _require(folder, ADAPTER_WEIGHTS)
        if not tensor_shapes(folder / ADAPTER_WEIGHTS):
            raise InputError(
                f"{folder / ADAPTER_WEIGHTS} holds no tensor: it was saved from a sharded model (ZeRO-3 or FSDP) "
                "without gathering it; save again with the trainer's `save_model`."
            )
        return Checkpoint(folder, "adapter", run_folder, (ADAPTER_WEIGHTS,), note)
    if (folder / MODEL_INDEX).exists():
        shards = read_json(folder / MODEL_INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise InputError(f"{folder / MODEL_INDEX} has no 'weight_map'.")
        weights: Iterable[str] = sorted({str(name) for name in shards.values()})
    elif (folder / MODEL_WEIGHTS).exists():
        weights = [MODEL_WEIGHTS]
    else:
        raise InputError(_explain_no_weights(folder))
    _require(folder, MODEL_CONFIG)
    read_json(folder / MODEL_CONFIG)
    for name in weights:
        _require(folder, name)
        tensor_shapes(folder / name)
    index = [MODEL_INDEX] if (folder / MODEL_INDEX).exists() else []
    return Checkpoint(folder, "model", run_folder, (*weights, *index), note)


def _require(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        if name == ADAPTER_WEIGHTS and (folder / "adapter_model.bin").exists():
            raise InputError(_pickled(folder / "adapter_model.bin"))
        raise InputError(f"{folder} has no {name}, so it is not a complete checkpoint.")


def _pickled(path: Path) -> str:
    return (
        f"{path} is a pickle, which can run code when opened; load it where you trust it and call "
        "`model.save_pretrained(folder, safe_serialization=True)`."
    )


def _explain_no_weights(folder: Path) -> str:
    for name in ("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin"):
        if (folder / name).exists():
            return _pickled(folder / name)
    if any(folder.glob("pytorch_model_fsdp*")):
        return f"{folder} holds FSDP shards; join them with `accelerate merge-weights {folder} OUT` and export OUT."
    if any(folder.glob("global_step*")):
        return f"{folder} holds ZeRO shards; join them with its zero_to_fp32.py and export the result."
    return (
        f"{folder} holds no {ADAPTER_WEIGHTS}, no {MODEL_WEIGHTS} and no checkpoint-N folder, so there is nothing to "
        "export."
    )
