"""The state of a run: one JSON file, from which a killed run goes on."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...errors import InputError
from .files import write_text


FILE_NAME = "state.json"
VERSION = 1


@dataclass
class Best:
    """The policy with the highest validation win rate against the first one."""

    iteration: int
    path: str
    metric: float


@dataclass
class Replayable:
    """The pairs that one past iteration made itself."""

    iteration: int
    path: str
    size: int


@dataclass
class LoopState:
    """Where a run stands, and what it needs to go on.

    Attributes:
        method: key of the catalog.
        config: everything that decides the result, by name; `config_hash` is its digest.
        base_seed: of the permutation, the samples and the training.
        num_iterations: T.
        samples_per_prompt: K.
        prompt_order: {path, sha256} of the permutation of the prompts, drawn once.
        judge: {name, fingerprint}.
        policy: pi_t, which samples next and from which training starts.
        reference: the fixed pi_ref = pi_0.
        trained: the model that the last training made (pi_0 before the first).
        previous_trained: the one before.
        best: see `Best`.
        iteration: t, the iteration that is running.
        stage_done: its finished stages.
        replay: past pairs, newest first.
        history: metrics of pi_0 and of every finished iteration.
    """

    method: str
    config: dict[str, Any]
    base_seed: int
    num_iterations: int
    samples_per_prompt: int
    prompt_order: dict[str, str]
    judge: dict[str, str]
    policy: str
    reference: str
    trained: str
    previous_trained: str
    best: Best
    iteration: int = 0
    stage_done: list[str] = field(default_factory=list)
    replay: list[Replayable] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    config_hash: str = ""
    version: int = VERSION

    def __post_init__(self) -> None:
        self.config_hash = config_hash(self.config)

    @property
    def finished(self) -> bool:
        return self.iteration >= self.num_iterations

    def save(self, folder: Path) -> None:
        """Write the state, whole or not at all."""
        write_text(folder / FILE_NAME, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "LoopState | None":
        """Read the state of `folder`; None where no run has begun there."""
        path = folder / FILE_NAME
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{path} is not valid JSON ({error}); restore it, or give another `output_dir`."
            ) from None
        if not isinstance(values, dict) or values.get("version") != VERSION:
            raise InputError(f"{path} was not written by this version of the loop; give another `output_dir`.")
        missing = [item.name for item in fields(cls) if item.name not in values]
        if missing:
            raise InputError(f"{path} lacks {', '.join(missing)}; restore it, or give another `output_dir`.")
        values["best"] = Best(**values["best"])
        values["replay"] = [Replayable(**item) for item in values["replay"]]
        return cls(**values)

    def check_unchanged(self, config: dict[str, Any], folder: Path) -> None:
        """Raise `InputError` with the list of the settings that differ from those the run began with."""
        if config_hash(config) == self.config_hash:
            return
        changed = [key for key in sorted({*config, *self.config}) if config.get(key) != self.config.get(key)]
        details = ", ".join(f"`{key}` (was {self.config.get(key)!r}, now {config.get(key)!r})" for key in changed)
        raise InputError(
            f"{folder} holds a run with other settings: {details}; put them back to go on, or give another `output_dir`."
        )


def config_hash(config: dict[str, Any]) -> str:
    """Digest of a configuration, the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
