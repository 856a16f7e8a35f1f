"""A task with exact returns on which token-level methods are compared: strings of bits with an additive reward.

A completion is 12 bits, drawn independently from a policy with one logit per place. Each bit adds or subtracts a weight of
its place, but the reward is only told at the end, and may be noisy. Returns are shares of the best one: 0 for the uniform
policy, 1 for the best string.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from common import generator


LENGTH = 12


@dataclass
class BitTask:
    """The task of one seed; `stream` draws everything that the run needs.

    Attributes:
        seed: of weights and samples.
        noise: standard deviation of the noise on a told reward, in shares of the best return.
    """

    seed: int
    noise: float = 0.0
    stream: torch.Generator = field(init=False)
    weights: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.stream = generator(self.seed)
        weights = torch.randn(LENGTH, generator=self.stream, dtype=torch.float64)
        self.weights = weights / weights.abs().sum()

    def sample(self, logits: torch.Tensor, episodes: int) -> torch.Tensor:
        """[N, 12] bits."""
        uniform = torch.rand(episodes, LENGTH, generator=self.stream, dtype=torch.float64)
        return (uniform < logits.detach().sigmoid()).double()

    def true_reward(self, bits: torch.Tensor) -> torch.Tensor:
        """[N], the share of the best return."""
        return (2 * bits - 1) @ self.weights

    def told_reward(self, bits: torch.Tensor) -> torch.Tensor:
        """[N], the same with noise."""
        noise = torch.randn(len(bits), generator=self.stream, dtype=torch.float64)
        return self.true_reward(bits) + self.noise * noise

    def expected_return(self, logits: torch.Tensor) -> float:
        """Exact, as a share of the best one."""
        return float((2 * logits.detach().sigmoid() - 1) @ self.weights)


def bit_logps(logits: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """[N, 12] log-probabilities of bits, in nats."""
    return -torch.nn.functional.softplus(-(2 * bits - 1) * logits)


def train(
    task: BitTask,
    update: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    steps: int,
    rate: float,
    episodes: int = 8,
    epochs: int = 1,
) -> list[float]:
    """Expected return before the first and after every step of Adam on `update(logits, bits)`, a loss.

    `update` is called `epochs` times with the same bits, drawn anew in every step.
    """
    logits = torch.zeros(LENGTH, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=rate)
    curve = [task.expected_return(logits)]
    for _ in range(steps):
        bits = task.sample(logits, episodes)
        for _ in range(epochs):
            optimizer.zero_grad()
            update(logits, bits).backward()
            optimizer.step()
        curve.append(task.expected_return(logits))
    return curve


def best_rate(run: Callable[[int, float], list[float]], rates: tuple[float, ...], seeds: list[int]) -> float:
    """The rate with the highest return over the whole run, averaged over seeds that are used for nothing else."""

    def area(rate: float) -> float:
        return sum(sum(run(seed, rate)) for seed in seeds)

    return max(rates, key=area)
