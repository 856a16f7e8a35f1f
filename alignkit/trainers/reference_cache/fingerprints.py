"""What a log-probability depends on, as hashes: the tokens of the row, and the weights that read them."""

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.bundled import resolve_model
from ...generation.sources import weight_files
from .store import ROW_BYTES


# What of a model's configuration says where it came from, not what it computes.
ORIGIN = ("_name_or_path", "_commit_hash", "transformers_version", "architectures", "use_cache")


def row_fingerprints(dataset: Any) -> list[bytes]:
    """16 bytes per row: the hash of every column of tokens (`..._ids`).

    The chat template, the tokenizer and whatever prepared the text act through the tokens alone.
    """
    columns = sorted(name for name in dataset.column_names if name.endswith("_ids"))
    tokens = dataset.select_columns(columns).with_format("numpy")
    hashes = []
    for batch in tokens.iter(batch_size=1000):
        for row in range(len(batch[columns[0]])):
            digest = hashlib.blake2b(digest_size=ROW_BYTES)
            for name in columns:
                ids = np.ascontiguousarray(batch[name][row], np.int64)
                digest.update(f"{name}:{ids.shape}:".encode())
                digest.update(ids.tobytes())
            hashes.append(digest.digest())
    return hashes


def module_fingerprint(model: Any, kept: Collection[str] = ("ref",)) -> str | None:
    """Hash of the weights of a model in memory and of its configuration; the frozen part of a PEFT model.

    Of a PEFT model that is the base and the adapters named in `kept`, by default TRL's copy `ref` of an adapter that
    training starts from; the trained one is switched off where the model serves as the reference. The base of an
    adapter and the same model without one share their hash. Quantised weights are hashed as they are, with their
    scales. None for a model whose weights are spread over processes and which has no name to be known by.
    """
    adapters = set(getattr(model, "peft_config", ()))
    dropped = adapters - set(kept)
    base = model.get_base_model() if adapters else model
    settings = {name: value for name, value in base.config.to_dict().items() if name not in ORIGIN}
    for adapter in sorted(adapters & set(kept)):
        settings[f"adapter {adapter}"] = model.peft_config[adapter].to_dict()
    settings["attention"] = base.config._attn_implementation
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    if any(_is_sharded(parameter) for parameter in model.parameters()):
        source = base.config._name_or_path
        if not source or adapters & set(kept):
            return None
        digest.update(f"{source_fingerprint(source)}:{base.dtype}".encode())
    else:
        weights = {
            _plain_name(name): tensor
            for name, tensor in model.state_dict().items()
            if torch.is_tensor(tensor) and not dropped & set(name.split("."))
        }
        digest.update(_hash_tensors(weights).encode())
    return digest.hexdigest()


def _is_sharded(parameter: torch.Tensor) -> bool:
    """Whether this process holds only a part of a parameter (FSDP2, ZeRO-3)."""
    return hasattr(parameter, "ds_id") or hasattr(parameter, "device_mesh")


def _plain_name(name: str) -> str:
    """The name of a weight without what PEFT puts around it."""
    return name.replace("base_model.model.", "").replace(".base_layer.", ".").replace(".original_module.", ".")


def _hash_tensors(weights: dict[str, torch.Tensor]) -> str:
    def one(item: tuple[str, torch.Tensor]) -> str:
        name, tensor = item
        plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest = hashlib.sha256(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        digest.update(plain.numpy())  # lets go of the lock: the threads run side by side
        return digest.hexdigest()

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return _hash_text(pool.map(one, sorted(weights.items(), key=lambda item: item[0])))


def source_fingerprint(source: str) -> str:
    """Hash of a model or adapter on disk: its weight and configuration files, and the base that an adapter names.

    A Hub name stands for the commit that it resolves to in the local cache, or for itself where that is unknown.
    """
    path = Path(resolve_model(source)).expanduser()
    if not path.is_dir():
        return f"{source}@{_commit(source)}"
    adapter = path / "adapter_config.json"
    files = [*weight_files(path), *filter(Path.is_file, (path / "config.json", adapter))]
    parts = [f"{file.name}:{_hash_file(file)}" for file in sorted(files)]
    if adapter.is_file():
        base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
        parts.append(f"base:{source_fingerprint(base) if base else None}")
    return _hash_text(parts)


def _commit(name: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    for file in ("config.json", "adapter_config.json"):
        found = try_to_load_from_cache(name, file)
        if isinstance(found, str):
            return Path(found).parent.name
    return None


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_text(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
