"""What a model name stands for: a full model or an adapter on a base, here or on the Hub; and its fingerprint.

Nothing is loaded: only configuration files and a few blocks of the weights are read, so that a finished evaluation is
recognised before a model is loaded.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alignkit.errors import InputError


WEIGHT_SUFFIXES = (".safetensors", ".bin")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
CHAT_FILES = (*TOKENIZER_FILES, "chat_template.jinja", "special_tokens_map.json", "generation_config.json")
# A larger weight file is known by its size and this many evenly spaced blocks: training moves every block.
WHOLE_FILE_BYTES = 64 * 2**20
NUM_BLOCKS = 64
BLOCK_BYTES = 2**18


@dataclass(frozen=True)
class ModelSource:
    """A resolved model name.

    `name` is what the user wrote; `path` a local folder or a Hub name; `revision` the commit of a Hub name;
    `base` is the source of the base model when `path` is an adapter.
    """

    name: str
    path: str
    revision: str | None = None
    base: "ModelSource | None" = None
    has_tokenizer: bool = True

    @property
    def is_adapter(self) -> bool:
        return self.base is not None

    @property
    def model_path(self) -> str:
        """Where the full weights are: the base's, for an adapter."""
        return self.base.path if self.base else self.path

    @property
    def model_revision(self) -> str | None:
        return self.base.revision if self.base else self.revision

    @property
    def tokenizer_path(self) -> str:
        return self.path if self.has_tokenizer or not self.base else self.base.path

    @property
    def tokenizer_revision(self) -> str | None:
        return self.revision if self.has_tokenizer or not self.base else self.base.revision


def resolve_source(
    name: str, base_model: str | None = None, resolve: Callable[[str], str] = lambda name: name
) -> ModelSource:
    """Find out what `name` is: a model folder, an adapter folder or a Hub name.

    `resolve` maps an alias to a path (any other name to itself) and is applied to adapters' bases too. `base_model`
    replaces the base that an adapter names. Raises `InputError` naming what is missing.
    """
    path = os.path.expanduser(resolve(name))
    if not os.path.isdir(path):
        if os.path.exists(path):
            raise InputError(f"model {name} is a file: give the folder that holds it")
        if not looks_like_hub_name(path):
            raise InputError(f"model folder {path} does not exist")
        return hub_source(name, path, base_model, resolve)
    folder = Path(path)
    has_weights = any(file.name.startswith(("model", "pytorch_model")) for file in weight_files(folder))
    if (folder / "adapter_config.json").is_file() and not ((folder / "config.json").is_file() and has_weights):
        if not any(file.name.startswith("adapter_model") for file in weight_files(folder)):
            raise InputError(f"adapter folder {path} holds adapter_config.json but no adapter_model.safetensors")
        base = adapter_base(folder / "adapter_config.json", name, base_model, resolve)
        return ModelSource(name, path, base=base, has_tokenizer=holds_tokenizer(folder))
    if not (folder / "config.json").is_file():
        raise InputError(f"model folder {path} holds neither config.json nor adapter_config.json{hint(folder)}")
    if not weight_files(folder):
        raise InputError(f"model folder {path} holds config.json but no weights (.safetensors or .bin)")
    if not holds_tokenizer(folder):
        raise InputError(f"model folder {path} holds no tokenizer: save one there with tokenizer.save_pretrained")
    return ModelSource(name, path)


def adapter_base(config_file: Path, name: str, base_model: str | None, resolve: Callable[[str], str]) -> ModelSource:
    """The source of the base model that an adapter's configuration names."""
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{config_file} is not valid JSON: {error}") from error
    base_name = base_model or config.get("base_model_name_or_path")
    if not base_name:
        raise InputError(f"{config_file} names no base_model_name_or_path: give the base with --base_model")
    try:
        base = resolve_source(base_name, resolve=resolve)
    except InputError as error:
        raise InputError(
            f"the base model {base_name} of adapter {name} cannot be used ({error}): give another with --base_model"
        ) from error
    if base.is_adapter:
        raise InputError(f"the base model {base_name} of adapter {name} is itself an adapter: merge that one first")
    return base


def hub_source(name: str, repo: str, base_model: str | None, resolve: Callable[[str], str]) -> ModelSource:
    """A model on the Hub (or in its local cache); the commit is read from the path of the file in the cache."""
    config_file = hub_file(repo, "adapter_config.json") or hub_file(repo, "config.json")
    if config_file is None:
        raise InputError(
            f"model {name} is neither a folder here nor a model that the Hub or its local cache can give (a network, a "
            "token for a gated model, or another spelling may be missing)"
        )
    revision = config_file.parent.name
    if config_file.name == "config.json":
        return ModelSource(name, repo, revision=revision)
    has_tokenizer = hub_file(repo, "tokenizer_config.json") is not None
    base = adapter_base(config_file, name, base_model, resolve)
    return ModelSource(name, repo, revision=revision, base=base, has_tokenizer=has_tokenizer)


def hub_file(repo: str, filename: str) -> Path | None:
    """Path of one file of a Hub repository in the local cache, downloaded if need be; None if there is none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, filename))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None


def fingerprint_source(source: ModelSource) -> str:
    """16 hex digits that change with the weights, the base, the tokenizer or the chat template."""
    digest = hashlib.sha256()
    if source.base is not None:
        digest.update(fingerprint_source(source.base).encode())
    if os.path.isdir(source.path):
        folder = Path(source.path)
        names = {*CHAT_FILES, "adapter_config.json" if source.base else "config.json"}
        files = [file for file in weight_files(folder) if not source.base or file.name.startswith("adapter_model")]
        files += [file for file in folder.iterdir() if file.name in names]
        for file in sorted(files):
            digest.update(file.name.encode())
            digest.update(file_digest(file))
    else:
        digest.update(f"{source.path}@{source.revision}".encode())
    return digest.hexdigest()[:16]


def file_digest(file: Path) -> bytes:
    """SHA-256 of a file; of its size and `NUM_BLOCKS` evenly spaced blocks where it is large."""
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as stream:
        if size <= WHOLE_FILE_BYTES:
            digest.update(stream.read())
        else:
            for block in range(NUM_BLOCKS):
                stream.seek((size - BLOCK_BYTES) * block // (NUM_BLOCKS - 1))
                digest.update(stream.read(BLOCK_BYTES))
    return digest.digest()


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a model or adapter folder (not optimizer or RNG states)."""
    prefixes = ("model", "pytorch_model", "adapter_model")
    return [file for file in folder.iterdir() if file.name.startswith(prefixes) and file.suffix in WEIGHT_SUFFIXES]


def holds_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def looks_like_hub_name(name: str) -> bool:
    """`name` or `owner/name`, not a path."""
    parts = name.split("/")
    return len(parts) <= 2 and all(parts) and not name.startswith((".", "~")) and "\\" not in name


def hint(folder: Path) -> str:
    """Where in a run's output folder the model probably is."""
    checkpoints = [path for path in folder.glob("checkpoint-*") if path.name.split("-")[-1].isdigit()]
    if not checkpoints:
        return ""
    last = max(checkpoints, key=lambda path: int(path.name.split("-")[-1]))
    return f": did you mean {last}?"
