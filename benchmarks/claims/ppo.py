"""PPO's claim: with a learned critic, fewer episodes are needed than without, and runs differ less.

    python benchmarks/claims/ppo.py

Strings of 12 bits with an additive reward told only at the end; 8 episodes a step, 10 seeds, exact returns. PPO with a
tabular critic V(s_t) = b_t + sum of w_i[bit_i] over the bits so far, 4 epochs, against REINFORCE without a baseline.
Controls: REINFORCE with the mean of the other episodes as baseline, PPO with one epoch, and PPO with a critic that never
learns. Every method has the best learning rate of four, chosen on 5 other seeds.
"""

from collections.abc import Callable

import torch
from bit_strings import LENGTH, BitTask, best_rate, bit_logps, train
from common import BLUE, GREEN, GREY, ORANGE, RED, plt, read_options, save, summary

from alignkit.objectives.advantages import whiten
from alignkit.objectives.policy import ppo_loss
from alignkit.objectives.rewards import kl_shaped_rewards
from alignkit.objectives.values import gae, value_loss


RATES = (0.1, 0.3, 0.6, 1.2)
CRITIC_RATE = 0.05
TUNING = [1000 + seed for seed in range(5)]
MILESTONES = (10, 20, 40, 80, 150)


class PPO:
    """One run's critic and the batch at hand; calling it gives the loss of the policy, and trains the critic."""

    def __init__(self, task: BitTask, learns: bool) -> None:
        self.task, self.learns = task, learns
        self.base = torch.zeros(LENGTH, dtype=torch.float64, requires_grad=True)
        self.table = torch.zeros(LENGTH, 2, dtype=torch.float64, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.base, self.table], lr=CRITIC_RATE)
        self.bits: torch.Tensor | None = None

    def values(self, bits: torch.Tensor) -> torch.Tensor:
        """[N, 12], of the bits before each place."""
        gained = self.table[torch.arange(LENGTH), bits.long()]
        return self.base + torch.cat([torch.zeros_like(gained[:, :1]), gained[:, :-1].cumsum(1)], dim=1)

    def __call__(self, logits: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        mask = torch.ones_like(bits)
        if bits is not self.bits:
            self.bits, self.old = bits, bit_logps(logits, bits).detach()
            self.old_values = self.values(bits).detach()
            rewards = kl_shaped_rewards(self.task.told_reward(bits), self.old, None, mask, kl_coef=0.0)
            estimate = gae(rewards, self.old_values, mask)
            self.advantages, self.returns = whiten(estimate.advantages, mask), estimate.returns
        if self.learns:
            self.optimizer.zero_grad()
            value_loss(self.values(bits), self.old_values, self.returns, mask).mean().backward()
            self.optimizer.step()
        return ppo_loss(bit_logps(logits, bits), self.old, self.advantages, mask).mean()


def reinforce(task: BitTask, baseline: bool) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    def update(logits: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        rewards = task.told_reward(bits)
        if baseline:
            rewards = (rewards - rewards.mean()) * len(rewards) / (len(rewards) - 1)
        return -(rewards[:, None] * bit_logps(logits, bits)).mean()

    return update


def methods(steps: int) -> dict[str, Callable[[int, float], list[float]]]:
    """{name: run(seed, learning rate) -> curve}."""

    def ppo(epochs: int, learns: bool = True) -> Callable[[int, float], list[float]]:
        def run(seed: int, rate: float) -> list[float]:
            task = BitTask(seed)
            return train(task, PPO(task, learns), steps, rate, epochs=epochs)

        return run

    def plain(baseline: bool) -> Callable[[int, float], list[float]]:
        def run(seed: int, rate: float) -> list[float]:
            task = BitTask(seed)
            return train(task, reinforce(task, baseline), steps, rate)

        return run

    return {
        "PPO": ppo(4),
        "PPO, one epoch": ppo(1),
        "PPO, critic never learns": ppo(4, learns=False),
        "REINFORCE": plain(False),
        "REINFORCE, mean baseline": plain(True),
    }


def draw(curves: dict[str, torch.Tensor]) -> plt.Figure:
    figure, (means, spreads) = plt.subplots(1, 2, figsize=(11, 4.2))
    for (name, values), colour in zip(curves.items(), (BLUE, GREEN, ORANGE, RED, GREY), strict=True):
        episodes = 8 * torch.arange(values.shape[1])
        means.plot(episodes, values.mean(0), color=colour, label=name)
        low, high = values.min(0).values, values.max(0).values
        if name in ("PPO", "REINFORCE"):
            means.fill_between(episodes, low, high, color=colour, alpha=0.12, lw=0)
        if len(values) > 1:
            spreads.plot(episodes, values.std(0), color=colour, label=name)
    means.set(
        title="Return (mean; bands: all seeds)",
        xlabel="episodes",
        ylabel="share of the best return",
        ylim=(-0.1, 1.02),
    )
    spreads.set(title="Spread over the seeds", xlabel="episodes", ylabel="standard deviation of the return")
    means.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    steps, tuning = (20, TUNING[:1]) if options.quick else (150, TUNING)
    curves, rates = {}, {}
    for name, run in methods(steps).items():
        rates[name] = best_rate(run, RATES, tuning)
        curves[name] = torch.tensor([run(seed, rates[name]) for seed in options.seeds], dtype=torch.float64)
    result = {
        "learning_rate": rates,
        "return": {
            name: {str(step): summary(values[:, step].tolist()) for step in MILESTONES if step <= steps}
            for name, values in curves.items()
        },
        "deviation_over_seeds": {
            name: {str(step): float(values[:, step].std()) for step in MILESTONES if step <= steps}
            for name, values in curves.items()
            if len(values) > 1
        },
    }
    save("ppo", draw(curves), result, options)
    return result


if __name__ == "__main__":
    main()
