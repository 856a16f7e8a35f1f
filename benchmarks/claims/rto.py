"""RTO's claim: token rewards from a DPO model make PPO learn from fewer episodes than the score at the end alone.

    python benchmarks/claims/rto.py

Strings of 12 bits with an additive reward, told at the end by a noisy reward model; a DPO model fitted to 400 pairs of
uniform strings, labelled by the true reward with Bradley-Terry noise. Policy gradient on the reward-to-go with a baseline
for each place, 8 episodes a step, 20 seeds, exact returns. Controls: the dense reward of a DPO model whose places are
shuffled, the dense reward without the score (beta3 = 0), and the DPO model itself. Every method has the best learning rate
of four, chosen on 5 other seeds.
"""

import functools
from collections.abc import Callable

import torch
from bit_strings import LENGTH, BitTask, best_rate, bit_logps, train
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, minimise, plt, read_options, save, summary

from alignkit.objectives.preference import dpo_loss
from alignkit.objectives.rewards import rto_token_rewards


NOISE, PAIRS, SHARPNESS, DPO_BETA = 0.5, 400, 10.0, 1.0
BETA1, DPO_CLIP = 0.05, 0.05
RATES = (0.1, 0.3, 0.6, 1.2)
TUNING = [1000 + seed for seed in range(5)]
MILESTONES = (20, 40, 80, 150)


def dpo_model(task: BitTask) -> torch.Tensor:
    """Logits [12] of a DPO model against the uniform reference, from pairs that the true reward labels with noise."""
    stream = generator(5000 + task.seed)
    pairs = (torch.rand(2, PAIRS, LENGTH, generator=stream, dtype=torch.float64) < 0.5).double()
    margin = SHARPNESS * (task.true_reward(pairs[0]) - task.true_reward(pairs[1]))
    first = torch.rand(PAIRS, generator=stream, dtype=torch.float64) < margin.sigmoid()
    chosen, rejected = (torch.where(first[:, None] == side, pairs[0], pairs[1]) for side in (True, False))
    reference = torch.full((PAIRS,), -LENGTH * 0.6931471805599453, dtype=torch.float64)

    def objective(logits: torch.Tensor) -> torch.Tensor:
        logps = (bit_logps(logits, side).sum(1) for side in (chosen, rejected))
        return dpo_loss(*logps, reference, reference, DPO_BETA).mean()

    return minimise(objective, torch.zeros(LENGTH, dtype=torch.float64))


def policy_gradient(
    task: BitTask, dpo_logits: torch.Tensor, beta1: float, beta3: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The loss of a batch: log-probabilities times the reward-to-go minus its mean at the same place."""

    def update(logits: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        logps = bit_logps(logits, bits)
        rewards = rto_token_rewards(
            task.told_reward(bits),
            logps,
            bit_logps(torch.zeros_like(dpo_logits), bits),
            bit_logps(dpo_logits, bits),
            torch.ones_like(bits),
            beta1=beta1,
            beta3=beta3,
            dpo_clip=DPO_CLIP,
        )
        to_go = rewards.flip(1).cumsum(1).flip(1)
        return -((to_go - to_go.mean(0)) * logps).mean()

    return update


def methods(steps: int) -> dict[str, Callable[[int, float], list[float]]]:
    """{name: run(seed, learning rate) -> curve}."""

    models = functools.cache(lambda seed: dpo_model(BitTask(seed, noise=NOISE)))

    def method(beta1: float, beta3: float, shuffled: bool = False) -> Callable[[int, float], list[float]]:
        def run(seed: int, rate: float) -> list[float]:
            task = BitTask(seed, noise=NOISE)
            logits = models(seed)
            if shuffled:
                logits = logits[torch.randperm(LENGTH, generator=generator(seed))]
            return train(task, policy_gradient(task, logits, beta1, beta3), steps, rate)

        return run

    return {
        "RTO": method(BETA1, 1.0),
        "score at the end alone": method(0.0, 1.0),
        "dense reward alone": method(BETA1, 0.0),
        "RTO, DPO model shuffled": method(BETA1, 1.0, shuffled=True),
    }


def draw(curves: dict[str, torch.Tensor], dpo: float) -> plt.Figure:
    figure, axis = plt.subplots(figsize=(7, 4.4))
    for (name, values), colour in zip(curves.items(), (BLUE, RED, GREEN, ORANGE), strict=True):
        episodes = 8 * torch.arange(values.shape[1])
        axis.plot(episodes, values.mean(0), color=colour, label=name)
        if len(values) > 1:
            half = 1.96 * values.std(0) / len(values) ** 0.5
            axis.fill_between(episodes, values.mean(0) - half, values.mean(0) + half, color=colour, alpha=0.15, lw=0)
    axis.axhline(dpo, color=GREY, lw=1, ls="--", label="the DPO model itself")
    axis.set(
        xlabel="episodes",
        ylabel="share of the best return",
        title="Return (mean and 95 % interval)",
        ylim=(-0.1, 1.02),
    )
    axis.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=20)
    steps, tuning = (20, TUNING[:1]) if options.quick else (150, TUNING)
    curves, rates = {}, {}
    for name, run in methods(steps).items():
        rates[name] = best_rate(run, RATES, tuning)
        curves[name] = torch.tensor([run(seed, rates[name]) for seed in options.seeds], dtype=torch.float64)
    tasks = [BitTask(seed, noise=NOISE) for seed in options.seeds]
    dpo = [task.expected_return(dpo_model(task)) for task in tasks]
    result = {
        "learning_rate": rates,
        "return": {
            name: {str(step): summary(values[:, step].tolist()) for step in MILESTONES if step <= steps}
            for name, values in curves.items()
        },
        "dpo_model_return": summary(dpo),
        "share_of_seeds_in_which_rto_has_more_area": float(
            (curves["RTO"].sum(1) > curves["score at the end alone"].sum(1)).double().mean()
        ),
    }
    save("rto", draw(curves, sum(dpo) / len(dpo)), result, options)
    return result


if __name__ == "__main__":
    main()
