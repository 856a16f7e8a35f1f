"""The state of a run: one JSON file, from which a killed run goes on."""

from dataclasses import dataclass, field
from typing import Any

from ..run_state import RunState


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


@dataclass(kw_only=True)
class LoopState(RunState):
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

    def __post_init__(self) -> None:
        super().__post_init__()
        # Read from JSON, they are mappings.
        self.best = Best(**self.best) if isinstance(self.best, dict) else self.best
        self.replay = [Replayable(**item) if isinstance(item, dict) else item for item in self.replay]

    @property
    def finished(self) -> bool:
        return self.iteration >= self.num_iterations
