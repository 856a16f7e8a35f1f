"""SePPO's claim: samples of earlier checkpoints can stand in for losers if the anchor decides their sign; without it they harm.

    python benchmarks/claims/seppo.py

A 2-D diffusion model (an MLP, 50 steps) has learned two Gaussian modes at (-2, 0) and (2, 0); the winners come from the right
one alone. Seven iterations of 100 updates: each draws a reference among the checkpoints so far and samples from it. Energy
distance between fresh samples and fresh winners after every iteration, for four settings of flipper and reference and for
fine-tuning on the winners alone (SFT), at a small beta, where the reference hardly holds the policy, and at one ten times as
large. Here the winners are exactly the target, so that nothing can beat SFT; what can show is whether the method degrades.
"""

import copy
import itertools

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, plt, read_options, save, summary
from torch import nn

from alignkit.objectives.diffusion import noised_sample, prediction_errors, prediction_target, seppo_loss
from alignkit.objectives.sampling import seppo_reference_index


TIMES, BETAS, RATE, BATCH, POOL = 50, (2.0, 20.0), 3e-4, 256, 1024
MODES, SPREAD = (-2.0, 2.0), 0.3
ALPHA_BARS = torch.cumprod(1 - torch.linspace(1e-4, 0.2, TIMES), dim=0)
SFT = "SFT"
SETTINGS = {
    "none + latest": ("none", "latest", RED),
    "none + random": ("none", "random", ORANGE),
    "sign + random": ("sign", "random", BLUE),
    "indicator + random": ("indicator", "random", GREEN),
    SFT: ("", "", GREY),
}


class Denoiser(nn.Module):
    """Predicts the noise [B, 2] of points [B, 2] at times [B]."""

    def __init__(self, width: int = 96):
        super().__init__()
        self.times = nn.Embedding(TIMES, width)
        self.into, self.out = nn.Linear(2, width), nn.Linear(width, 2)
        self.middle = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, points: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        return self.out(self.middle(self.into(points) + self.times(times)))


def draw_data(count: int, rng: torch.Generator, winners: bool) -> torch.Tensor:
    """Points [count, 2] of the right mode, or of both."""
    right = torch.ones(count, dtype=torch.long) if winners else torch.randint(2, (count,), generator=rng)
    centres = torch.stack([torch.tensor(MODES)[right], torch.zeros(count)], dim=1)
    return centres + SPREAD * torch.randn(count, 2, generator=rng)


def errors(model: Denoiser, points: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Prediction errors [B] of a model."""
    alpha, sigma = ALPHA_BARS[times].sqrt(), (1 - ALPHA_BARS[times]).sqrt()
    target = prediction_target(points, noise, alpha, sigma, "epsilon")
    return prediction_errors(model(noised_sample(points, noise, alpha, sigma), times), target)


@torch.no_grad()
def sample(model: Denoiser, count: int, rng: torch.Generator) -> torch.Tensor:
    """Points [count, 2] by ancestral sampling (DDPM)."""
    points = torch.randn(count, 2, generator=rng)
    for time in reversed(range(TIMES)):
        bar, last = ALPHA_BARS[time], ALPHA_BARS[time - 1] if time else torch.tensor(1.0)
        predicted = model(points, torch.full((count,), time))
        clean = (points - (1 - bar).sqrt() * predicted) / bar.sqrt()
        step = bar / last
        mean = (last.sqrt() * (1 - step) * clean + step.sqrt() * (1 - last) * points) / (1 - bar)
        points = mean + ((1 - step) * (1 - last) / (1 - bar)).sqrt() * torch.randn(count, 2, generator=rng)
    return points


def energy_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|; 0 for equal laws."""

    def spread(points: torch.Tensor) -> torch.Tensor:
        return torch.cdist(points, points).sum() / (len(points) * (len(points) - 1))

    return float(2 * torch.cdist(first, second).mean() - spread(first) - spread(second))


def pretrain(seed: int, steps: int) -> Denoiser:
    rng = generator(seed)
    torch.manual_seed(seed)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(steps):
        points, times = draw_data(BATCH, rng, winners=False), torch.randint(TIMES, (BATCH,), generator=rng)
        loss = errors(model, points, torch.randn(BATCH, 2, generator=rng), times).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def align(
    start: Denoiser, setting: str, beta: float, seed: int, iterations: int, steps: int
) -> tuple[list[float], torch.Tensor]:
    """Energy distance to fresh winners before and after every iteration, and the last samples."""
    flipper, strategy, _ = SETTINGS[setting]
    rng, judge = generator(1000 + seed), generator(2000 + seed)
    model, pool = copy.deepcopy(start), [copy.deepcopy(start)]
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    samples = sample(model, POOL, judge)
    distances = [energy_distance(samples, draw_data(POOL, judge, winners=True))]
    for _ in range(iterations):
        if setting != SFT:
            draw = float(torch.rand((), generator=rng, dtype=torch.float64))
            reference = pool[seppo_reference_index(len(pool), draw, strategy)]
            own = sample(reference, POOL, rng)
        for _ in range(steps):
            winners, times = draw_data(BATCH, rng, winners=True), torch.randint(TIMES, (BATCH,), generator=rng)
            noise = torch.randn(BATCH, 2, generator=rng)
            chosen = errors(model, winners, noise, times)
            if setting == SFT:
                loss = chosen
            else:
                rivals = own[torch.randint(POOL, (BATCH,), generator=rng)]
                with torch.no_grad():
                    fixed = errors(reference, winners, noise, times), errors(reference, rivals, noise, times)
                loss = seppo_loss(chosen, errors(model, rivals, noise, times), *fixed, beta=beta, flipper=flipper)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
        pool.append(copy.deepcopy(model))
        samples = sample(model, POOL, judge)
        distances.append(energy_distance(samples, draw_data(POOL, judge, winners=True)))
    return distances, samples


def draw(
    distances: dict[float, dict[str, list[list[float]]]], clouds: dict[str, torch.Tensor], winners: torch.Tensor
) -> plt.Figure:
    figure, (*curves, left, right) = plt.subplots(1, 4, figsize=(16, 4.2), width_ratios=(1.5, 1.5, 1, 1))
    for axis, (beta, table) in zip(curves, distances.items(), strict=True):
        for setting, rows in table.items():
            values = torch.tensor(rows)
            colour = SETTINGS[setting][2]
            axis.plot(values.median(dim=0).values, color=colour, marker="o", ms=3, label=setting)
            axis.fill_between(range(values.shape[1]), values.amin(dim=0), values.amax(dim=0), color=colour, alpha=0.15)
        axis.set_yscale("symlog", linthresh=0.1)
        axis.set(
            ylim=(0, 1e4),
            xlabel="iteration",
            ylabel="energy distance to fresh winners",
            title=f"beta {beta:g}: median, least to most",
        )
    curves[0].legend(fontsize=8)
    for axis, setting in zip((left, right), ("none + latest", "sign + random"), strict=True):
        axis.scatter(*winners[:300].T, s=4, color="#bbbbbb", label="winners")
        axis.scatter(*clouds[setting][:300].T, s=4, color=SETTINGS[setting][2], label="samples")
        axis.set(title=f"{setting}, seed 0", xlim=(-6, 6), ylim=(-6, 6), aspect="equal")
        axis.legend(fontsize=7, loc="upper left")
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=4)
    pretraining, iterations, steps = (150, 2, 10) if options.quick else (1500, 7, 100)
    distances: dict[float, dict[str, list[list[float]]]] = {
        beta: {setting: [] for setting in SETTINGS} for beta in BETAS
    }
    clouds: dict[str, torch.Tensor] = {}
    for seed in options.seeds:
        start = pretrain(seed, pretraining)
        for beta, setting in itertools.product(BETAS, SETTINGS):
            if setting == SFT and beta != BETAS[0]:  # it has no beta
                distances[beta][SFT].append(distances[BETAS[0]][SFT][-1])
                continue
            rows, samples = align(start, setting, beta, seed, iterations, steps)
            distances[beta][setting].append(rows)
            clouds.setdefault(setting, samples)
    result = {
        "energy_distance_before": summary([rows[0] for rows in distances[BETAS[0]][SFT]]),
        "energy_distance_after": {
            f"beta {beta:g}": {setting: [round(rows[-1], 4) for rows in own] for setting, own in table.items()}
            for beta, table in distances.items()
        },
    }
    save("seppo", draw(distances, clouds, draw_data(POOL, generator(0), winners=True)), result, options)
    return result


if __name__ == "__main__":
    main()
