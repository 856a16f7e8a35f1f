"""MHPO's claim: flatter gradient norms than clipping, and learning that stands mismatched log-probabilities.

    python benchmarks/claims/mhpo.py

The tabular task (tabular.py), 6 updates per batch, noise N(0, 3) on the old log-probabilities of 5 % of the tokens. (a) SGD
with step 2: norm of every update's gradient, and its maximum over its median. (b) Adam 0.05: exact success probability,
also without noise. Baselines: no clip and GRPO (clip 0.2); SAPO, the other smooth loss, as the control that tells what is
due to smoothness alone.
"""

import statistics

import torch
from common import BLUE, GREEN, GREY, ORANGE, plt, read_options, save, summary
from tabular import TabularTask, train

from alignkit.objectives.policy import grpo_loss, mhpo_loss, sapo_loss


NOISE_STD, EARLY, UNCLIPPED = 3.0, 15, 1e9
LOSSES = {
    "MHPO": lambda logps, batch, advantages: mhpo_loss(logps, batch.old_logps, advantages, batch.mask),
    "SAPO": lambda logps, batch, advantages: sapo_loss(logps, batch.old_logps, advantages, batch.mask),
    "GRPO, clip 0.2": lambda logps, batch, advantages: grpo_loss(logps, batch.old_logps, advantages, batch.mask),
    "no clip": lambda logps, batch, advantages: grpo_loss(
        logps, batch.old_logps, advantages, batch.mask, UNCLIPPED, UNCLIPPED
    ),
}
COLOURS = dict(zip(LOSSES, (BLUE, GREEN, ORANGE, GREY), strict=True))


def spike(norms: list[float]) -> float:
    """Largest gradient norm over the median of those that are not 0 (batches without any success have none)."""
    moving = [norm for norm in norms if norm > 0]
    return max(moving) / statistics.median(moving)


def draw(norms: dict, curves: dict) -> plt.Figure:
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4))
    for name in reversed(LOSSES):
        moving = [(step, norm) for step, norm in enumerate(norms[name][0]) if norm > 0]
        axes[0].plot(*zip(*moving, strict=True), color=COLOURS[name], lw=1, label=name)
    axes[0].set(yscale="log", xlabel="update", ylabel="gradient norm", title="SGD, noise N(0, 3), seed 0")
    axes[0].legend(fontsize=8)
    for axis, (condition, methods) in zip(axes[1:], curves.items(), strict=True):
        for name, runs in methods.items():
            axis.plot(
                [sum(values) / len(values) for values in zip(*runs, strict=True)], color=COLOURS[name], label=name
            )
        axis.set(xlabel="generated batches (6 updates each)", title=f"Adam, {condition}", ylim=(0, 1.02))
    axes[1].set(ylabel="exact success probability")
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    batches = EARLY + 1 if options.quick else 60
    sgd = {"optimizer": torch.optim.SGD, "lr": 2.0}
    norms = {
        name: [
            train(TabularTask(seed, noise_std=NOISE_STD), loss, batches=batches, **sgd).gradient_norm
            for seed in options.seeds
        ]
        for name, loss in LOSSES.items()
    }
    conditions = {"noise N(0, 3) on 5 % of old log-probs": NOISE_STD, "exact old log-probs": 0.0}
    curves = {
        condition: {
            name: [train(TabularTask(seed, noise_std=noise), loss, batches=batches).success for seed in options.seeds]
            for name, loss in LOSSES.items()
        }
        for condition, noise in conditions.items()
    }
    result = {
        "gradient_norm_max_over_median": {name: summary([spike(run) for run in runs]) for name, runs in norms.items()},
        "success": {
            condition: {
                name: {
                    f"after_batch_{EARLY}": summary([run[EARLY] for run in runs]),
                    "at_the_end": summary([run[-1] for run in runs]),
                }
                for name, runs in methods.items()
            }
            for condition, methods in curves.items()
        },
    }
    save("mhpo", draw(norms, curves), result, options)
    return result


if __name__ == "__main__":
    main()
