"""HAPO's claim, as far as a table can show it: what its parts B, C and D each do to tokens that the reward does not depend on.

    python benchmarks/claims/hapo.py

Tabular task with six "format" positions, which start sharp and do not count for the reward, and two "decision" positions, one
of which must hit. Failed completions are twice as long, so that in a token mean the long negatives push every format token
down. DAPO (clip-higher, token mean), HAPO's parts alone and together (part A, sampling, has no counterpart here). Control:
DAPO's loss averaged within each completion first, which removes the length bias without any of HAPO.
"""

from dataclasses import dataclass

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, plt, read_options, save, summary
from tabular import Curves, TabularBatch, TabularTask, descend

from alignkit.objectives.advantages import grpo_advantages, hapo_advantages
from alignkit.objectives.policy import aggregate, hapo_loss


FORMAT, DECISION = (0, 1, 2, 3, 4, 5), (6, 7)
SHARPNESS = 6.0  # logit of the format token: a probability of 0.973 among 12 tokens


@dataclass(frozen=True)
class Variant:
    """Which parts are on, and how token losses are averaged."""

    token_average: bool = False  # B
    adv_beta: float = 0.0  # C
    clip_alpha: float = 0.0  # D
    how: str = "dapo"
    colour: str = GREY


VARIANTS = {
    "DAPO": Variant(colour=ORANGE),
    "B": Variant(token_average=True, colour=GREEN),
    "C": Variant(adv_beta=1.0, colour="#CC79A7"),
    "D": Variant(clip_alpha=1.0, colour="#56B4E9"),
    "B + C + D": Variant(True, 1.0, 1.0, colour=BLUE),
    "DAPO, mean per completion": Variant(how="grpo", colour=RED),
}


def run(seed: int, variant: Variant, batches: int) -> Curves:
    """Curves of one training run; what is tracked is the mean probability of the format tokens."""
    task = TabularTask(seed, scored=DECISION, needed=1, failure_length=2)
    start = task.start()
    start[:, list(FORMAT)] = start[:, list(FORMAT)].scatter(2, task.targets[:, list(FORMAT), None], SHARPNESS)

    def advantages(batch: TabularBatch) -> torch.Tensor:
        if variant.token_average:
            return hapo_advantages(batch.rewards, batch.num_generations, batch.mask)
        return grpo_advantages(batch.rewards, batch.num_generations, eps=1e-6)

    def objective(logits: torch.Tensor, batch: TabularBatch, values: torch.Tensor) -> torch.Tensor:
        losses = hapo_loss(
            task.logps(logits, batch),
            batch.old_logps,
            values,
            batch.mask,
            task.entropies(logits, batch),
            adv_beta=variant.adv_beta,
            clip_alpha=variant.clip_alpha,
        )
        return aggregate(losses, batch.mask, variant.how)

    return descend(
        task,
        objective,
        batches=batches,
        updates=6,
        lr=0.03,
        advantages=advantages,
        start=start,
        track=lambda logits: float(task.target_probabilities(logits)[:, list(FORMAT)].mean()),
    )


def draw(runs: dict[str, list[Curves]]) -> plt.Figure:
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4))
    titles = {
        "tracked": ("probability of the format tokens", "Format tokens: mean and range of the seeds"),
        "entropy": ("entropy of the policy (nats)", "Entropy of all positions"),
        "success": ("probability of success", "Success (exact)"),
    }
    for axis, (attribute, (label, title)) in zip(axes, titles.items(), strict=True):
        for name, curves in runs.items():
            values = torch.tensor([getattr(run, attribute) for run in curves])
            colour, style = VARIANTS[name].colour, "--" if VARIANTS[name].how == "grpo" else "-"
            axis.plot(values.mean(dim=0), style, color=colour, label=name)
            if attribute == "tracked":
                axis.fill_between(
                    range(values.shape[1]), values.amin(dim=0), values.amax(dim=0), color=colour, alpha=0.12, lw=0
                )
        axis.set(xlabel="batch", ylabel=label, title=title)
    axes[2].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=5)
    batches = 8 if options.quick else 150
    runs = {name: [run(seed, variant, batches) for seed in options.seeds] for name, variant in VARIANTS.items()}
    marks = [mark for mark in (20, 60, 149) if mark <= batches]
    result = {
        "batches": batches,
        "results": {
            name: {
                "format_probability_at_batch": {
                    str(mark): summary([run.tracked[mark] for run in curves]) for mark in marks
                },
                "final_format_probability": summary([run.tracked[-1] for run in curves]),
                "final_entropy": summary([run.entropy[-1] for run in curves]),
                "final_success": summary([run.success[-1] for run in curves]),
            }
            for name, curves in runs.items()
        },
    }
    save("hapo", draw(runs), result, options)
    return result


if __name__ == "__main__":
    main()
