"""What the name of an image model stands for: a diffusers pipeline, or a LoRA on one, here or on the Hub; its fingerprint.

Nothing is loaded: only names, configuration and a few blocks of the weights are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from .sources import file_digest, hub_file, looks_like_hub_name


INDEX_FILE = "model_index.json"
LORA_FILE = "pytorch_lora_weights.safetensors"
RUN_FILE = "alignkit_run.json"
EXPORT_FILE = "alignkit.json"  # of an exported folder: the same facts, under `run`


@dataclass(frozen=True)
class ImageSource:
    """A resolved name: `path` is the pipeline's folder or Hub name, `lora` the LoRA's (None without one), `base` the name of
    the pipeline that a LoRA is on."""

    name: str
    path: str
    revision: str | None = None
    lora: str | None = None
    lora_revision: str | None = None
    base: str | None = None


def resolve_image_source(
    name: str, base_model: str | None = None, resolve: Callable[[str], str] = lambda name: name
) -> ImageSource:
    """Find out what `name` is: a pipeline's folder, a LoRA's folder (its base read from `alignkit_run.json` or from the
    model card), or a Hub name.

    `resolve` maps an alias to a folder (any other name to itself), for bases too; `base_model` replaces the base that a
    LoRA names. Raises `InputError` naming what is missing.
    """
    path = os.path.expanduser(resolve(name))
    if not os.path.isdir(path):
        if os.path.exists(path):
            raise InputError(f"image model {name} is a file: give the folder that holds it")
        if not looks_like_hub_name(path):
            raise InputError(f"image model folder {path} does not exist")
        return hub_image_source(name, path, base_model, resolve)
    if os.path.isfile(os.path.join(path, INDEX_FILE)):
        return ImageSource(name, path)
    if not os.path.isfile(os.path.join(path, LORA_FILE)):
        raise InputError(
            f"image model folder {path} holds neither {INDEX_FILE} (a whole pipeline) nor {LORA_FILE} (a LoRA)"
        )
    base, revision = base_model, None
    if base is None:
        base, revision = recorded_base(Path(path))
    return on_base(name, path, None, base, revision, resolve)


def hub_image_source(name: str, repo: str, base_model: str | None, resolve: Callable[[str], str]) -> ImageSource:
    """A pipeline or a LoRA on the Hub (or in its local cache)."""
    index = hub_file(repo, INDEX_FILE)
    if index is not None:
        return ImageSource(name, repo, revision=index.parent.name)
    weights = hub_file(repo, LORA_FILE)
    if weights is None:
        raise InputError(
            f"image model {name} is neither a folder here nor a diffusers pipeline or LoRA that the Hub or its local cache "
            "can give (a network, a token for a gated model, or another spelling may be missing)"
        )
    base, revision = base_model, None
    if base is None:
        for file in (RUN_FILE, "README.md"):
            hub_file(repo, file)
        base, revision = recorded_base(weights.parent)
    return on_base(name, repo, weights.parent.name, base, revision, resolve)


def on_base(
    name: str,
    lora: str,
    lora_revision: str | None,
    base: str | None,
    revision: str | None,
    resolve: Callable[[str], str],
) -> ImageSource:
    """The source of a LoRA on the pipeline `base`."""
    if base is None:
        raise InputError(
            f"the LoRA {name} names no base pipeline in {RUN_FILE} or README.md: give it with --base_model"
        )
    try:
        source = resolve_image_source(base, resolve=resolve)
    except InputError as error:
        raise InputError(f"the base {base} of the LoRA {name} cannot be used ({error}): give --base_model") from error
    if source.lora is not None:
        raise InputError(f"the base {base} of the LoRA {name} is itself a LoRA: name the pipeline with --base_model")
    return ImageSource(name, source.path, revision or source.revision, lora, lora_revision, base)


def recorded_base(folder: Path) -> tuple[str | None, str | None]:
    """Name and revision of the pipeline that a LoRA was trained on: as the run recorded it, else `base_model` of the card."""
    for run in (folder / RUN_FILE, folder / EXPORT_FILE):
        if not run.is_file():
            continue
        try:
            facts = json.loads(run.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{run} is not valid JSON: {error}") from error
        facts = facts.get("run", facts)
        if facts.get("model_name_or_path"):
            return str(facts["model_name_or_path"]), facts.get("model_revision")
    card = folder / "README.md"
    front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), re.DOTALL) if card.is_file() else None
    if front is None:
        return None, None
    import yaml

    values: Any = yaml.safe_load(front.group(1))
    base = values.get("base_model") if isinstance(values, dict) else None
    base = base[0] if isinstance(base, list) and base else base
    return (base, None) if isinstance(base, str) else (None, None)


def fingerprint_image_source(source: ImageSource) -> str:
    """16 hex digits that change with the pipeline's weights and configuration or with the LoRA."""
    digest = hashlib.sha256()
    for path, revision in ((source.path, source.revision), (source.lora, source.lora_revision)):
        if path is None:
            continue
        if not os.path.isdir(path):
            digest.update(f"{path}@{revision}".encode())
            continue
        folder = Path(path)
        files = [folder / LORA_FILE] if path == source.lora else pipeline_files(folder)
        for file in files:
            digest.update(str(file.relative_to(folder)).encode() + file_digest(file))
    return digest.hexdigest()[:16]


def pipeline_files(folder: Path) -> list[Path]:
    """The files of a pipeline that decide its images."""
    suffixes = (".json", ".safetensors", ".bin", ".txt", ".model")
    parts = [folder, *(own for own in folder.iterdir() if own.is_dir())]
    files = [file for part in parts for file in part.iterdir() if file.suffix in suffixes and file.name != RUN_FILE]
    return sorted(files)
