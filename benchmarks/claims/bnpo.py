"""BNPO's claim: dividing binary rewards by a Beta density fitted to the pass rates steadies the policy gradient.

    python benchmarks/claims/bnpo.py

64 Bernoulli policies p = sigmoid(theta), started from Beta(2, 4); 16 completions per prompt, 300 on-policy steps of gradient
descent. REINFORCE with the group mean, GRPO and BNPO, once on their own scale and, as the control, with every batch of
advantages scaled to the same mean size, so that no method is steadier by a smaller step. Measured: the coefficient of
variation of the gradient norm over 30 steps (the paper's measure of stability), the mean pass rate, and, at the start
policy, the noise of the gradient: its variance over 400 batches divided by the squared norm of its mean.
"""

from collections.abc import Callable

import torch
from common import BLUE, GREEN, ORANGE, generator, plt, read_options, save, summary

from alignkit.objectives.advantages import bnpo_advantages, grpo_advantages


PROMPTS, GENERATIONS, LR, SIZE, WINDOW = 64, 16, 3.0, 0.5, 30
START = (2.0, 4.0)
METHODS = {
    "REINFORCE, group mean": lambda rewards: grpo_advantages(rewards, GENERATIONS, scale_rewards="none"),
    "GRPO": lambda rewards: grpo_advantages(rewards, GENERATIONS),
    "BNPO": lambda rewards: bnpo_advantages(rewards, GENERATIONS),
}
COLOURS = dict(zip(METHODS, (GREEN, ORANGE, BLUE), strict=True))


def start(stream: torch.Generator) -> torch.Tensor:
    """theta [PROMPTS] with pass rates drawn from Beta(2, 4): a ratio of sums of exponential draws."""
    draws = -torch.rand(PROMPTS, int(sum(START)), generator=stream, dtype=torch.float64).log()
    rates = draws[:, : int(START[0])].sum(dim=1) / draws.sum(dim=1)
    return rates.logit()


def scaled(advantages: Callable) -> Callable:
    """The same advantages at the mean size `SIZE`."""

    def estimate(rewards: torch.Tensor) -> torch.Tensor:
        values = advantages(rewards)
        return values * SIZE / values.abs().mean().clamp(min=1e-12)

    return estimate


def gradient(theta: torch.Tensor, advantages: Callable, stream: torch.Generator) -> torch.Tensor:
    """[PROMPTS] policy gradient of one batch; d log p(reward) / d theta is reward - p."""
    rates = theta.sigmoid()[:, None]
    rewards = (torch.rand(PROMPTS, GENERATIONS, generator=stream, dtype=torch.float64) < rates).double()
    values = advantages(rewards.flatten()).view_as(rewards)
    return (values * (rewards - rates)).mean(dim=1) / PROMPTS


def train(advantages: Callable, seed: int, steps: int) -> tuple[list[float], list[float]]:
    """Gradient norm of each step, and mean pass rate before each step and at the end."""
    stream = generator(seed)
    theta = start(stream)
    norms, rates = [], [float(theta.sigmoid().mean())]
    for _ in range(steps):
        step = gradient(theta, advantages, stream)
        norms.append(float(step.norm()))
        theta = theta + LR * step
        rates.append(float(theta.sigmoid().mean()))
    return norms, rates


def noise(advantages: Callable, seed: int, batches: int) -> float:
    """Variance of the gradient over its squared mean, at the start policy."""
    stream = generator(seed)
    theta = start(stream)
    drawn = torch.stack([gradient(theta, advantages, stream) for _ in range(batches)])
    return float(drawn.var(dim=0).sum() / drawn.mean(dim=0).square().sum())


def variation(norms: torch.Tensor, window: int) -> torch.Tensor:
    """Standard deviation over mean of the gradient norm in every run of `window` steps; [seeds, steps - window + 1]."""
    windows = norms.unfold(1, window, 1)
    return windows.std(dim=2) / windows.mean(dim=2)


def draw(norms: dict, rates: dict, noises: dict, window: int) -> plt.Figure:
    figure, (own, equal, success, bars) = plt.subplots(1, 4, figsize=(17, 4.2))
    for axis, scale in ((own, "own scale"), (equal, "equal size")):
        for name, colour in COLOURS.items():
            curve = variation(norms[scale, name], window).mean(dim=0)
            axis.plot(range(window, window + len(curve)), curve, color=colour, label=name)
        axis.set(title=f"Gradient norm over {window} steps: {scale}", ylabel="coefficient of variation", xlabel="step")
        axis.set_ylim(bottom=0)
    own.legend(fontsize=8)
    for name, colour in COLOURS.items():
        success.plot(rates["own scale", name].mean(dim=0), color=colour)
        success.plot(rates["equal size", name].mean(dim=0), color=colour, ls="--")
    success.set(title="Pass rate (dashed: equal size)", ylabel="mean over prompts", xlabel="step")
    for position, (name, colour) in enumerate(COLOURS.items()):
        number = summary(noises[name])
        bars.bar(position, number["mean"], yerr=number["ci95"] or 0.0, color=colour, capsize=3)
    bars.set(xticks=range(3), xticklabels=("REINFORCE,\ngroup mean", "GRPO", "BNPO"))
    bars.set(title="Noise of the gradient, start", ylabel="variance / squared norm of the mean")
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    steps, batches, window = (30, 20, 10) if options.quick else (300, 400, WINDOW)
    norms, rates, results = {}, {}, {}
    noises = {
        name: [noise(scaled(advantages), seed, batches) for seed in options.seeds]
        for name, advantages in METHODS.items()
    }
    for scale in ("own scale", "equal size"):
        for name, advantages in METHODS.items():
            estimate = advantages if scale == "own scale" else scaled(advantages)
            runs = [train(estimate, seed, steps) for seed in options.seeds]
            norms[scale, name] = torch.tensor([run[0] for run in runs], dtype=torch.float64)
            rates[scale, name] = torch.tensor([run[1] for run in runs], dtype=torch.float64)
        results[scale] = {
            name: {
                "variation_of_gradient_norm": summary(variation(norms[scale, name], window).mean(dim=1).tolist()),
                "pass_rate_at_the_end": summary(rates[scale, name][:, -1].tolist()),
            }
            for name in METHODS
        }
    result = {
        "steps": steps,
        "results": results,
        "gradient_noise_at_the_start": {name: summary(values) for name, values in noises.items()},
        "noise_bnpo_over_grpo_same_seed": summary(
            [ours / theirs for ours, theirs in zip(noises["BNPO"], noises["GRPO"], strict=True)]
        ),
    }
    save("bnpo", draw(norms, rates, noises, window), result, options)
    return result


if __name__ == "__main__":
    main()
