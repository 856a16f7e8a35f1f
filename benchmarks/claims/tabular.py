"""A tabular policy with verifiable answers, on which the policy losses are compared: everything about it is exact.

Each prompt has a hidden target token at every position. A completion is one token per position, drawn independently from
softmax(logits[prompt, position]), and its reward is 1 where at least `needed` of the `scored` positions hit their target.
Failed completions can be longer (their positions are drawn again, without effect on the reward), and the log-probabilities
of the sampling policy can be noisy, as where sampler and trainer disagree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from common import generator

from alignkit.objectives.advantages import grpo_advantages
from alignkit.objectives.policy import aggregate


@dataclass(frozen=True)
class TabularBatch:
    """N completions of T tokens, groups in consecutive runs of `num_generations`.

    Attributes:
        prompts: [N] indices.
        tokens: [N, T] indices; places that the mask leaves out hold draws too.
        mask: [N, T] bool; T is `positions` times the length of failures.
        rewards: [N], 0 or 1.
        old_logps: [N, T] log-probabilities under the sampling policy, noisy where the task says so.
        num_generations: G.
        logits: [P, L, V] of the sampling policy.
    """

    prompts: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor
    rewards: torch.Tensor
    old_logps: torch.Tensor
    num_generations: int
    logits: torch.Tensor


@dataclass(frozen=True)
class TabularTask:
    """The task of one seed; its random numbers come from `stream` alone.

    Attributes:
        seed: of targets and sampling.
        prompts, positions, vocabulary: sizes P, L, V.
        needed: hits at which the reward is 1.
        scored: the positions that count; None: all.
        failure_length: length of a failed completion as a multiple of L.
        noise_std, noise_share: standard deviation in nats of the noise on old log-probabilities, and the share of tokens
            that have it.
    """

    seed: int
    prompts: int = 6
    positions: int = 8
    vocabulary: int = 12
    needed: int = 3
    scored: Sequence[int] | None = None
    failure_length: int = 1
    noise_std: float = 0.0
    noise_share: float = 0.05
    stream: torch.Generator = field(init=False)
    targets: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stream", generator(self.seed))
        targets = torch.randint(self.vocabulary, (self.prompts, self.positions), generator=self.stream)
        object.__setattr__(self, "targets", targets)

    def start(self) -> torch.Tensor:
        """Logits [P, L, V] of the uniform policy."""
        return torch.zeros(self.prompts, self.positions, self.vocabulary, dtype=torch.float64)

    def sample(self, logits: torch.Tensor, num_generations: int) -> TabularBatch:
        """Draw G completions for every prompt."""
        prompts = torch.arange(self.prompts).repeat_interleave(num_generations)
        probabilities = logits.detach().softmax(-1).repeat(1, self.failure_length, 1)
        draws = torch.multinomial(
            probabilities.flatten(0, 1), num_generations, replacement=True, generator=self.stream
        ).view(self.prompts, -1, num_generations)
        tokens = draws.transpose(1, 2).flatten(0, 1)
        rewards = self.rewards(prompts, tokens)
        lengths = torch.where(rewards == 1, self.positions, tokens.shape[1])
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        sampler = logits.detach().clone()
        batch = TabularBatch(prompts, tokens, mask, rewards, torch.empty(0), num_generations, sampler)
        old = self.logps(sampler, batch)
        if self.noise_std:
            noisy = torch.rand(old.shape, generator=self.stream) < self.noise_share
            noise = self.noise_std * torch.randn(old.shape, generator=self.stream, dtype=old.dtype)
            old = torch.where(noisy, old + noise, old)
        return replace(batch, old_logps=old)

    def rewards(self, prompts: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        hits = tokens[:, : self.positions] == self.targets[prompts]
        counted = hits if self.scored is None else hits[:, list(self.scored)]
        return (counted.sum(dim=1) >= self.needed).double()

    def logps(self, logits: torch.Tensor, batch: TabularBatch) -> torch.Tensor:
        """Log-probabilities [N, T] of the drawn tokens under `logits`, with gradient."""
        logps = logits.log_softmax(-1).repeat(1, self.failure_length, 1)
        return logps[batch.prompts].gather(2, batch.tokens[:, :, None]).squeeze(2)

    def entropies(self, logits: torch.Tensor, batch: TabularBatch) -> torch.Tensor:
        """Entropy [N, T] in nats of the distributions that the tokens were drawn from."""
        entropy = torch.special.entr(logits.detach().softmax(-1)).sum(-1)
        return entropy.repeat(1, self.failure_length)[batch.prompts]

    def target_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Probability [P, L] of the target at each position."""
        return logits.detach().softmax(-1).gather(2, self.targets[:, :, None]).squeeze(2)

    def success(self, logits: torch.Tensor) -> torch.Tensor:
        """Exact probability [P] of a reward of 1: that `needed` independent hits come together."""
        chances = self.target_probabilities(logits)
        chances = chances if self.scored is None else chances[:, list(self.scored)]
        # hits[:, k]: probability of exactly k hits so far.
        hits = torch.zeros(self.prompts, chances.shape[1] + 1, dtype=chances.dtype)
        hits[:, 0] = 1
        for chance in chances.T[:, :, None]:
            hits = hits * (1 - chance) + torch.nn.functional.pad(hits[:, :-1], (1, 0)) * chance
        return hits[:, self.needed :].sum(dim=1)

    def entropy(self, logits: torch.Tensor) -> float:
        """Mean entropy of the policy's distributions in nats."""
        return float(torch.special.entr(logits.detach().softmax(-1)).sum(-1).mean())


# (log-probabilities with gradient, the batch, its advantages) -> [N, T]
TokenLoss = Callable[[torch.Tensor, TabularBatch, torch.Tensor], torch.Tensor]
# (logits with gradient, the batch, its advantages) -> scalar
Objective = Callable[[torch.Tensor, TabularBatch, torch.Tensor], torch.Tensor]


@dataclass
class Curves:
    """What a training run on the task showed: per batch (before its updates, and once at the end) and per update."""

    success: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    tracked: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    logits: torch.Tensor = field(default_factory=lambda: torch.empty(0))


def train(task: TabularTask, token_loss: TokenLoss, how: str = "grpo", **options: Any) -> Curves:
    """Train logits on a loss of each token, aggregated as `how` says; the options are those of `descend`."""

    def objective(logits: torch.Tensor, batch: TabularBatch, values: torch.Tensor) -> torch.Tensor:
        return aggregate(token_loss(task.logps(logits, batch), batch, values), batch.mask, how)

    return descend(task, objective, **options)


def descend(
    task: TabularTask,
    objective: Objective,
    batches: int = 60,
    updates: int = 6,
    num_generations: int = 16,
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam,
    lr: float = 0.05,
    advantages: Callable[[TabularBatch], torch.Tensor] | None = None,
    start: torch.Tensor | None = None,
    track: Callable[[torch.Tensor], float] | None = None,
) -> Curves:
    """Train logits on the task: `updates` full-batch steps on every generated batch.

    Args:
        advantages: from a batch to [N] or [N, T]; default: `grpo_advantages`.
        start: logits to start from; default: the uniform policy.
        track: a number of the logits to follow beside success and entropy.
    """
    logits = (task.start() if start is None else start.clone()).requires_grad_()
    stepper = optimizer([logits], lr=lr)  # type: ignore[call-arg]
    curves = Curves()

    def look() -> None:
        curves.success.append(float(task.success(logits).mean()))
        curves.entropy.append(task.entropy(logits))
        if track is not None:
            curves.tracked.append(track(logits.detach()))

    for _ in range(batches):
        look()
        batch = task.sample(logits, num_generations)
        values = grpo_advantages(batch.rewards, num_generations) if advantages is None else advantages(batch)
        for _ in range(updates):
            stepper.zero_grad()
            objective(logits, batch, values).backward()
            assert logits.grad is not None
            curves.gradient_norm.append(float(logits.grad.norm()))
            stepper.step()
    look()
    curves.logits = logits.detach()
    return curves
