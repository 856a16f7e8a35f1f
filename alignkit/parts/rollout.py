"""What reward shaping and advantage estimators see of a generation batch, and what an estimator gives back."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from ..objectives.groups import sum_rewards


class Origin(enum.IntEnum):
    """Where a completion comes from."""

    FRESH = 0  # generated under its row's prompt
    GUIDED = 1  # generated under the prompt of a guidance
    REPLAYED = 2  # out of a replay buffer


@dataclass
class RolloutBatch:
    """A generation batch, gathered over all processes: N completions, groups in consecutive runs of `num_generations`.

    Every process holds the same batch, so that a statistic computed here is the same everywhere.

    Attributes:
        rewards: [N, K] float, NaN where a reward function gave None.
        reward_weights: [K].
        reward_names: names of the K reward functions.
        num_generations: G, completions per prompt.
        training: False in evaluation, where no state may change.
        lengths: [N] tokens that the model wrote (tool results do not count; truncated completions do).
        mask: [N, T] bool, the tokens that the loss counts, T being the longest completion of any process.
        groups: [N] int64, the group of each completion; consecutive runs of G unless an allocator shares them out.
        origins: [N] int64, an `Origin` for each completion.
        max_completion_length: tokens at which a completion is cut off; None where that is not known.
        load: gives what is only computed where a part asks for it, by name (see the properties).
    """

    rewards: torch.Tensor
    reward_weights: torch.Tensor
    reward_names: list[str]
    num_generations: int
    training: bool
    lengths: torch.Tensor
    mask: torch.Tensor
    groups: torch.Tensor
    origins: torch.Tensor
    max_completion_length: int | None = None
    load: dict[str, Callable[..., Any]] = field(default_factory=dict, repr=False)

    @property
    def totals(self) -> torch.Tensor:
        """[N] weighted sum of the rewards; NaN for a row that no function scored."""
        return sum_rewards(self.rewards, self.reward_weights)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The N data set rows, with all their columns."""
        return self.load["rows"]()

    @cached_property
    def completions(self) -> list[Any]:
        """The N completions, texts or lists of messages."""
        return self.load["completions"]()

    @cached_property
    def texts(self) -> list[str]:
        """The N completions as text: of a conversation, what its last message says."""
        return [item if isinstance(item, str) else item[-1]["content"] or "" for item in self.completions]

    @cached_property
    def old_logps(self) -> torch.Tensor:
        """[N, T] log-probabilities of the sampled tokens under the policy that generated them, in nats."""
        return self.load["old_logps"]()

    @cached_property
    def ref_logps(self) -> torch.Tensor:
        """[N, T], the same under the frozen reference."""
        return self.load["ref_logps"]()

    @cached_property
    def values(self) -> torch.Tensor:
        """[N, T] a critic's value of the text before each token, under the critic as it was when they were generated."""
        return self.load["values"]()

    @cached_property
    def end_values(self) -> torch.Tensor:
        """[N] a critic's value of the whole text, after the last token of each completion."""
        return self.load["end_values"]()

    @cached_property
    def truncated(self) -> torch.Tensor:
        """[N] bool, the completions that were cut off before they had ended."""
        return self.load["truncated"]()

    @cached_property
    def window_start(self) -> torch.Tensor:
        """[N] first position that the current policy wrote, where responses are written over several windows."""
        return self.load["window_start"]()

    @cached_property
    def unfinished(self) -> torch.Tensor:
        """[N] bool, the responses that go on in the next window."""
        return self.load["unfinished"]()

    @cached_property
    def baseline_rewards(self) -> torch.Tensor:
        """[N, K] rewards of the baseline answer in each row; NaN for a row that has none, or needs none."""
        return self.load["baseline_rewards"]()

    @cached_property
    def baseline_lengths(self) -> torch.Tensor:
        """[N] tokens of these answers; 0 for a row without one."""
        return self.load["baseline_lengths"]()

    def logps_under(self, name: str) -> torch.Tensor:
        """[N, T] log-probabilities of the sampled tokens under a further frozen model of the trainer."""
        return self.load["logps_under"](name)

    def tempered_logps(self, temperature: float) -> torch.Tensor:
        """[N, T] log-probabilities of the sampled tokens under the generating policy's logits divided by `temperature`.

        Beyond the sampling temperature, which both log-probabilities contain. Costs a forward pass.
        """
        return self.load["tempered_logps"](temperature)


@dataclass
class Advantages:
    """What an estimator gives back.

    Attributes:
        values: [N] advantages, or [N, T] for a value of its own at each token.
        extras: further tensors that the policy loss needs, {name: [N] or [N, T]}.
        metrics: numbers to log, {name: value}, the same on every process.
    """

    values: torch.Tensor
    extras: dict[str, torch.Tensor] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
