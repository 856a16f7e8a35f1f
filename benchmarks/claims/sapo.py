"""SAPO's claim: a soft gate learns faster than clipping where completions are reused, and stands mismatched log-probabilities.

    python benchmarks/claims/sapo.py

The tabular task (tabular.py): 6 updates per batch, Adam 0.05, 60 batches, exact success probability. Twice: with exact old
log-probabilities, and with noise N(0, 1.5) on those of 5 % of the tokens. Baselines: GRPO (clip 0.2) and GSPO with its
published clip range. Controls: no clipping at all, which tells what the gate adds to the absence of a clip, and GSPO with
clip 0.2, because its published range is made for completions of thousands of tokens.
"""

from common import BLUE, GREEN, GREY, ORANGE, RED, plt, read_options, save, summary
from tabular import TabularTask, train

from alignkit.objectives.policy import grpo_loss, sapo_loss


NOISE_STD, EARLY = 1.5, 15
UNCLIPPED = 1e9


def gspo(logps, batch, advantages, low, high):
    level = "sequence"
    return grpo_loss(logps, batch.old_logps, advantages, batch.mask, low, high, importance_sampling_level=level)


LOSSES = {
    "SAPO": lambda logps, batch, advantages: sapo_loss(logps, batch.old_logps, advantages, batch.mask),
    "GRPO, clip 0.2": lambda logps, batch, advantages: grpo_loss(logps, batch.old_logps, advantages, batch.mask),
    "GSPO, clip 3e-4 / 4e-4": lambda logps, batch, advantages: gspo(logps, batch, advantages, 3e-4, 4e-4),
    "GSPO, clip 0.2": lambda logps, batch, advantages: gspo(logps, batch, advantages, 0.2, 0.2),
    "no clip": lambda logps, batch, advantages: grpo_loss(
        logps, batch.old_logps, advantages, batch.mask, UNCLIPPED, UNCLIPPED
    ),
}
COLOURS = dict(zip(LOSSES, (BLUE, ORANGE, RED, GREEN, GREY), strict=True))


def draw(curves: dict) -> plt.Figure:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    for axis, (condition, methods) in zip(axes, curves.items(), strict=True):
        for name, runs in methods.items():
            mean = [sum(values) / len(values) for values in zip(*runs, strict=True)]
            axis.plot(mean, color=COLOURS[name], ls="--" if name in ("no clip", "GSPO, clip 0.2") else "-", label=name)
        axis.axvline(EARLY, color=GREY, lw=0.8, alpha=0.6)
        axis.set(xlabel="generated batches (6 updates each)", title=condition)
    axes[0].set(ylabel="exact success probability", ylim=(0, 1.02))
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    batches = EARLY + 1 if options.quick else 60
    conditions = {"exact old log-probabilities": 0.0, f"noise N(0, {NOISE_STD:g}) on 5 % of them": NOISE_STD}
    curves = {
        condition: {
            name: [train(TabularTask(seed, noise_std=noise), loss, batches=batches).success for seed in options.seeds]
            for name, loss in LOSSES.items()
        }
        for condition, noise in conditions.items()
    }
    result = {
        "success": {
            condition: {
                name: {
                    f"after_batch_{EARLY}": summary([run[EARLY] for run in runs]),
                    "at_the_end": summary([run[-1] for run in runs]),
                }
                for name, runs in methods.items()
            }
            for condition, methods in curves.items()
        }
    }
    save("sapo", draw(curves), result, options)
    return result


if __name__ == "__main__":
    main()
