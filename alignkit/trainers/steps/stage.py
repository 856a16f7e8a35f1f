"""What every stage sees of a run, and where the run stands."""

from dataclasses import dataclass, field
from typing import Any

from ...generation import load_tokenizer
from ...judges import Judge
from ..iterative.context import Context
from ..run_state import RunState


Rows = list[dict[str, Any]]


@dataclass(kw_only=True)
class StepState(RunState):
    """Where a run stands.

    Attributes:
        base_seed: of samples and trainings.
        policy: pi_ref of the iteration, which samples, completes and is trained.
        critic: the critic of the last iteration; None before the first.
        iteration: the one that is running, from 0.
        stage_done: its finished stages.
        history: the numbers of every finished iteration.
    """

    base_seed: int
    policy: str
    critic: str | None = None
    iteration: int = 0
    stage_done: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Stage:
    """An iteration of a run: what the loop's sampling needs, the problems, and who scores.

    Attributes:
        context: run, folder and state as the loop's sampling takes them; its rule is not used.
        state: the same state.
        rows: the problems, each with `prompt` and `prompt_id`, its row in the data set.
        judge: scores responses in [0, 1].
    """

    context: Context
    state: StepState
    rows: Rows
    judge: Judge

    @property
    def folder(self):
        return self.context.iteration_dir

    @property
    def config(self) -> Any:
        return self.context.config

    @property
    def policy(self) -> str:
        """The policy of the iteration's start: sampler, completer and reference."""
        return self.state.policy

    def tokenizer(self) -> Any:
        """The policy's tokenizer."""
        return load_tokenizer(self.context.source(self.policy), trust_remote_code=bool(self.config.trust_remote_code))
