"""BAPO's claim: bounds that move until positive tokens hold their share keep the entropy where samples are used again.

    python benchmarks/claims/bapo.py

Tabular task in which failed completions are three times as long, so that negative tokens dominate a token mean; every batch
is used for 8 updates. GRPO with a clip range of 0.2, BAPO as published, and BAPO that counts only the tokens that are not
clipped ("active"). Control: the same clipped loss with bounds fixed at (0.9, 3.0), where the published search ends.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, plt, read_options, save, summary
from tabular import Curves, TabularBatch, TabularTask, train

from alignkit.objectives.policy import bapo_clip_bounds, bapo_loss


FIXED = {"GRPO, 0.8 to 1.2": (0.8, 1.2), "fixed, 0.9 to 3.0": (0.9, 3.0)}
SEARCHED = {"BAPO": "surrogate", "BAPO, active": "active"}
COLOURS = {"GRPO, 0.8 to 1.2": ORANGE, "BAPO": BLUE, "BAPO, active": GREEN, "fixed, 0.9 to 3.0": RED}
UPDATES = 8


def run(seed: int, name: str, batches: int) -> tuple[Curves, list[tuple[float, float, float]]]:
    """Curves of one training run, and (low, high, positive share) at every update."""
    bounds: list[tuple[float, float, float]] = []

    def token_loss(logps: torch.Tensor, batch: TabularBatch, advantages: torch.Tensor) -> torch.Tensor:
        inputs = (logps, batch.old_logps, advantages, batch.mask)
        if name in FIXED:
            return bapo_loss(*inputs, *FIXED[name])
        found = bapo_clip_bounds(*inputs, contribution=SEARCHED[name])
        bounds.append(tuple(found))
        return bapo_loss(*inputs, found.low, found.high)

    task = TabularTask(seed, failure_length=3)
    return train(task, token_loss, how="dapo", batches=batches, updates=UPDATES, lr=0.05), bounds


def draw(runs: dict[str, list[Curves]], bounds: dict[str, list[list[tuple[float, float, float]]]]) -> plt.Figure:
    figure, (entropy, success, limits) = plt.subplots(1, 3, figsize=(14, 4.4))
    for axis, attribute in ((entropy, "entropy"), (success, "success")):
        for name, curves in runs.items():
            values = torch.tensor([getattr(run, attribute) for run in curves])
            style = "--" if name in FIXED else "-"
            axis.plot(values.mean(dim=0), style, color=COLOURS[name], label=name)
            axis.fill_between(
                range(values.shape[1]), values.amin(dim=0), values.amax(dim=0), color=COLOURS[name], alpha=0.15, lw=0
            )
    entropy.set(xlabel="batch", ylabel="entropy of the policy (nats)", title="Entropy: mean and range of the seeds")
    success.set(xlabel="batch", ylabel="probability of success", title="Success (exact)")
    success.legend(fontsize=8, loc="lower right")
    for name, width in zip(SEARCHED, (4.0, 1.0), strict=True):
        updates = torch.tensor(bounds[name][0])
        steps = torch.arange(len(updates)) / UPDATES
        limits.plot(steps, updates[:, 0], color=COLOURS[name], lw=width, label=f"{name}: low")
        limits.plot(steps, updates[:, 1], color=COLOURS[name], lw=width, ls=":", label=f"{name}: high")
    limits.axhline(1, color=GREY, lw=1)
    limits.set(xlabel="batch", ylabel="bound of the ratio", title="Bounds at every update, seed 0")
    limits.legend(fontsize=8, loc="center right")
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=5)
    batches = 6 if options.quick else 80
    runs: dict[str, list[Curves]] = {name: [] for name in COLOURS}
    bounds: dict[str, list[list[tuple[float, float, float]]]] = {name: [] for name in COLOURS}
    for seed in options.seeds:
        for name in COLOURS:
            curves, found = run(seed, name, batches)
            runs[name].append(curves)
            bounds[name].append(found)
    marks = [mark for mark in (5, 20, 40, 79) if mark <= batches]
    result = {
        "results": {
            name: {
                "entropy_at_batch": {str(mark): summary([run.entropy[mark] for run in curves]) for mark in marks},
                "success_at_batch": {str(mark): summary([run.success[mark] for run in curves]) for mark in marks},
                "final_success": summary([run.success[-1] for run in curves]),
            }
            for name, curves in runs.items()
        },
        "bounds": {
            name: {
                bound: summary([float(torch.tensor(found)[:, place].mean()) for found in bounds[name]])
                for place, bound in enumerate(("low", "high", "positive_share"))
            }
            | {
                "share_of_updates_with_both_bounds_at_their_end": summary(
                    [
                        sum(low > 0.9 - 1e-6 and high > 3.0 - 1e-6 for low, high, _ in found) / len(found)
                        for found in bounds[name]
                    ]
                )
            }
            for name in SEARCHED
        },
    }
    save("bapo", draw(runs, bounds), result, options)
    return result


if __name__ == "__main__":
    main()
