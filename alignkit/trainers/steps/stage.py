"""What every stage sees of a run, and the model and tokenizer at hand."""

from dataclasses import dataclass
from typing import Any

from ...generation import load_tokenizer
from ...judges import Judge
from ..iterative.context import Context


Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Stage:
    """An iteration of a run: what the loop's sampling needs, the problems, and who scores.

    Attributes:
        context: run, folder and state; its rule is not used.
        rows: the problems, each with `prompt` and `prompt_id`, its row in the data set.
        judge: scores responses in [0, 1].
    """

    context: Context
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
        return self.context.state.policy

    def tokenizer(self) -> Any:
        """The policy's tokenizer."""
        return load_tokenizer(self.context.source(self.policy), trust_remote_code=bool(self.config.trust_remote_code))
