"""The state of a run of several stages: one JSON file, which a killed run goes on from and a changed one is refused by."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..errors import InputError
from .iterative.files import write_text


State = TypeVar("State", bound="RunState")


@dataclass
class RunState:
    """What every such run keeps: its method and all settings that decide its result, by name.

    A subclass adds where the run stands, in fields with defaults.
    """

    file_name: ClassVar[str] = "state.json"

    method: str
    config: dict[str, Any]
    config_hash: str = field(default="")
    version: int = 1

    def __post_init__(self) -> None:
        self.config_hash = digest_of(self.config)

    def save(self, folder: Path) -> None:
        """Write the state, whole or not at all."""
        write_text(folder / self.file_name, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls: type[State], folder: Path) -> State | None:
        """Read the state of `folder`; None where no run has begun there."""
        path = folder / cls.file_name
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{path} is not valid JSON ({error}); restore it, or give another `output_dir`."
            ) from None
        known = {item.name for item in fields(cls)}
        if not isinstance(values, dict) or set(values) != known or values["version"] != cls.version:
            differing = ", ".join(sorted(known ^ set(values))) if isinstance(values, dict) else "no mapping"
            raise InputError(f"{path} belongs to another kind of run ({differing}); give another `output_dir`.")
        return cls(**values)

    def check_unchanged(self, config: dict[str, Any], folder: Path) -> None:
        """Raise `InputError` with the list of the settings that differ from those the run began with."""
        if digest_of(config) == self.config_hash:
            return
        changed = [key for key in sorted({*config, *self.config}) if config.get(key) != self.config.get(key)]
        details = ", ".join(f"`{key}` (was {self.config.get(key)!r}, now {config.get(key)!r})" for key in changed)
        raise InputError(
            f"{folder} holds a run with other settings: {details}; put them back to go on, or give another `output_dir`."
        )


def digest_of(config: dict[str, Any]) -> str:
    """Digest of settings, the same whatever the order of their keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
