"""What is known about the run that made a checkpoint, cleaned of secrets and of paths of the machine it ran on."""

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..catalog import METHODS, Method
from ..errors import InputError
from .checkpoint import Checkpoint, read_json


RUN_FILE = "alignkit_run.json"
EXPORT_FILE = "alignkit.json"
BUNDLED_PREFIX = "bundled/"

# `pad_token` and its like are no secrets.
_SECRET = re.compile(
    r"^((hub|hf|push_to_hub|use_auth|auth|access|bearer)_)?token$|api_?key|secret|passw|credential", re.I
)
# `Trainer` folders and addresses: they say where the run was, not what it was.
_PLACES = {"output_dir", "logging_dir", "run_name", "cache_dir", "hub_model_id", "config", "config_file"}


@dataclass(frozen=True)
class RunFacts:
    """Facts of a run, fit to be published.

    Attributes:
        method: catalog key (or the name of a composition that the catalog does not list), if known.
        alignkit_version, versions: what it ran with.
        model_name_or_path, model_revision: the base as the user named it; not cleaned, see `base_model.py`.
        dataset: names of the training data.
        config: fields that differ from the defaults.
        seed, steps, epochs: of the run, up to this checkpoint.
        license: the licence of the result, if the user said one.
    """

    method: str | None = None
    alignkit_version: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    model_name_or_path: str | None = None
    model_revision: str | None = None
    dataset: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    steps: int | None = None
    epochs: float | None = None
    license: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the known facts as a JSON object."""
        return {name: value for name, value in asdict(self).items() if value not in (None, {}, ())}

    def cited_methods(self) -> list[Method]:
        """Return the catalog's entries for the method and for the parts a composition names."""
        keys = [self.method] if self.method else []
        for part in self.config.values():
            if isinstance(part, dict) and isinstance(part.get("name"), str):
                keys.append(part["name"])
        return [METHODS[key] for key in dict.fromkeys(keys) if key in METHODS]


def read_run_facts(checkpoint: Checkpoint, method: str | None = None, license_name: str | None = None) -> RunFacts:
    """Gather the facts from `alignkit_run.json` (or an earlier export's `alignkit.json`) and `trainer_state.json`.

    A checkpoint of plain TRL has no such file; then only the trainer's state, `method` and `license_name` are known.

    Raises:
        InputError: a file that is there is not a JSON object, or `method` contradicts the recorded one.
    """
    raw = _read_first(
        [
            (checkpoint.path / RUN_FILE, None),
            (checkpoint.run_folder / RUN_FILE, None),
            (checkpoint.path / EXPORT_FILE, "run"),
        ]
    )
    state_path = checkpoint.path / "trainer_state.json"
    return as_run_facts(raw, read_json(state_path) if state_path.exists() else {}, method, license_name)


def as_run_facts(
    raw: dict[str, Any], state: dict[str, Any], method: str | None = None, license_name: str | None = None
) -> RunFacts:
    """Facts fit to be published, from the content of `alignkit_run.json` and of `trainer_state.json`.

    Raises:
        InputError: `method` contradicts the recorded one.
    """
    recorded = _text(raw.get("method"))
    if method is not None and recorded not in (None, method):
        raise InputError(f"--method is {method!r}, but the run was recorded as {recorded!r}; leave --method out.")
    versions = raw.get("versions")
    config = raw.get("config")
    return RunFacts(
        method=method or recorded,
        alignkit_version=_text(raw.get("alignkit_version")),
        versions={str(name): str(value) for name, value in versions.items()} if isinstance(versions, dict) else {},
        model_name_or_path=_text(raw.get("model_name_or_path")),
        model_revision=_text(raw.get("model_revision")),
        dataset=_dataset_names(raw.get("dataset")),
        config=_clean(config) if isinstance(config, dict) else {},
        seed=raw["seed"] if isinstance(raw.get("seed"), int) else None,
        steps=_number(state.get("global_step"), raw.get("steps")),
        epochs=_number(state.get("epoch"), raw.get("epochs")),
        license=license_name or _text(raw.get("license")),
    )


def looks_like_path(name: str) -> bool:
    """Return whether `name` is a place on this machine rather than a name that others can look up."""
    return (
        os.path.isabs(name)
        or name.startswith((".", "~"))
        or "\\" in name
        or name.count("/") > 1
        or bool(re.match(r"[A-Za-z]:", name))
        or (os.path.exists(name) and not name.startswith(BUNDLED_PREFIX))
    )


def is_hub_name(name: str) -> bool:
    """Return whether `name` can be the name of a repository on the Hub."""
    return bool(re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name)) and not (
        looks_like_path(name)
        or name.startswith(BUNDLED_PREFIX)
        or name.endswith((".json", ".jsonl", ".csv", ".parquet"))
    )


def without_folder(name: str) -> str:
    """Return a path's last part, any other name unchanged."""
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1] if looks_like_path(name) else name


def _read_first(places: list[tuple[Path, str | None]]) -> dict[str, Any]:
    for path, key in places:
        if path.is_file():
            content = read_json(path)
            inner = content if key is None else content.get(key)
            return inner if isinstance(inner, dict) else {}
    return {}


def _clean(value: Any) -> Any:
    """Drop secrets and places from a configuration, and folders from the paths that remain."""
    if isinstance(value, dict):
        return {
            str(name): _clean(item)
            for name, item in value.items()
            if not _SECRET.search(str(name)) and str(name) not in _PLACES
        }
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, str) and (os.path.isabs(value) or value.startswith(("~", "./", "../"))):
        return without_folder(value)
    return value


def _dataset_names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(without_folder(name) for name in names if isinstance(name, str) and name)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(*candidates: Any) -> Any:
    return next((item for item in candidates if isinstance(item, int | float) and not isinstance(item, bool)), None)
