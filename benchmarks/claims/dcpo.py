"""DCPO's claim: the entropy of the policy is held at a chosen level, at no cost in success.

    python benchmarks/claims/dcpo.py

Tabular task, 2 updates per batch. GRPO; DCPO with four target entropies, the entropy being measured as the trainer does it
(mean of -log pi of the sampled tokens over the updates of the batch before). Control: GRPO with an entropy bonus, at five
coefficients: does a constant coefficient reach the same entropies with the same success?
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, plt, read_options, save, summary
from tabular import Curves, TabularBatch, TabularTask, descend

from alignkit.objectives.advantages import dcpo_advantages, dcpo_coefficient
from alignkit.objectives.policy import aggregate, grpo_loss
from alignkit.objectives.sampling import dcpo_temperature


TARGETS = (0.25, 0.5, 1.0, 1.5)
BONUSES = (0.003, 0.01, 0.03, 0.1, 0.3)


class Controller:
    """DCPO's advantages on the tabular task, with the entropy measured over the updates of the last batch."""

    def __init__(self, task: TabularTask, target_entropy: float) -> None:
        self.task, self.target_entropy = task, target_entropy
        self.entropy: float | None = None
        self.surprise, self.tokens = 0.0, 0

    def observe(self, logps: torch.Tensor, mask: torch.Tensor) -> None:
        self.surprise -= float(logps.detach()[mask].sum())
        self.tokens += int(mask.sum())

    def __call__(self, batch: TabularBatch) -> torch.Tensor:
        if not self.tokens:
            self.observe(batch.old_logps, batch.mask)
        entropy = self.surprise / self.tokens
        self.surprise, self.tokens = 0.0, 0
        positive_rate = float((batch.rewards > 0.05).double().mean())
        alpha = dcpo_coefficient(entropy, positive_rate, self.target_entropy)
        target = self.task.logps(batch.logits / dcpo_temperature(entropy, self.target_entropy), batch)
        return dcpo_advantages(batch.rewards, batch.num_generations, batch.old_logps, target, batch.mask, alpha)


def run(seed: int, batches: int, target_entropy: float | None = None, bonus: float = 0.0) -> Curves:
    """One training run: GRPO, DCPO where a target is given, or GRPO with an entropy bonus."""
    task = TabularTask(seed)
    controller = None if target_entropy is None else Controller(task, target_entropy)

    def objective(logits: torch.Tensor, batch: TabularBatch, advantages: torch.Tensor) -> torch.Tensor:
        logps = task.logps(logits, batch)
        if controller is not None:
            controller.observe(logps, batch.mask)
        loss = aggregate(grpo_loss(logps, batch.old_logps, advantages, batch.mask, delta=3.0), batch.mask, "dapo")
        entropy = torch.special.entr(logits.softmax(-1)).sum(-1).mean()
        return loss - bonus * entropy

    return descend(task, objective, batches=batches, updates=2, lr=0.05, advantages=controller)


def draw(grpo: list[Curves], dcpo: dict[float, list[Curves]], bonus: dict[float, list[Curves]]) -> plt.Figure:
    figure, (curves, final, frontier) = plt.subplots(1, 3, figsize=(14, 4.4))

    def mean(runs: list[Curves], attribute: str) -> torch.Tensor:
        return torch.tensor([getattr(run, attribute) for run in runs]).mean(dim=0)

    curves.plot(mean(grpo, "entropy"), color=ORANGE, label="GRPO")
    for target, shade in zip(TARGETS, (1.0, 0.8, 0.6, 0.4), strict=True):
        curves.plot(mean(dcpo[target], "entropy"), color=BLUE, alpha=shade, label=f"DCPO, target {target:g}")
        curves.axhline(target, color=GREY, lw=0.8, ls=":")
    curves.set(xlabel="batch", ylabel="entropy of the policy (nats)", title="Entropy, mean of the seeds")
    curves.legend(fontsize=8)
    for target, runs in dcpo.items():
        final.scatter([target] * len(runs), [run.entropy[-1] for run in runs], color=BLUE, s=22)
    final.plot((0, 1.6), (0, 1.6), color=GREY, lw=1, ls="--", label="target")
    final.axhline(mean(grpo, "entropy")[-1], color=ORANGE, lw=1, label="GRPO")
    final.set(xlabel="target entropy (nats)", ylabel="entropy at the end", title="DCPO: every seed")
    final.legend(fontsize=8)
    for name, runs, colour, marker in (("DCPO", dcpo, BLUE, "o"), ("entropy bonus", bonus, RED, "s")):
        frontier.plot(
            [mean(each, "entropy")[-1] for each in runs.values()],
            [mean(each, "success")[-1] for each in runs.values()],
            marker=marker,
            color=colour,
            label=name,
        )
    frontier.plot(mean(grpo, "entropy")[-1], mean(grpo, "success")[-1], "D", color=GREEN, label="GRPO")
    frontier.set(xlabel="entropy at the end (nats)", ylabel="success at the end", title="Success at that entropy")
    frontier.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=5)
    batches = 8 if options.quick else 150
    grpo = [run(seed, batches) for seed in options.seeds]
    dcpo = {target: [run(seed, batches, target_entropy=target) for seed in options.seeds] for target in TARGETS}
    bonus = {weight: [run(seed, batches, bonus=weight) for seed in options.seeds] for weight in BONUSES}

    def report(runs: list[Curves]) -> dict:
        return {
            "entropy": summary([run.entropy[-1] for run in runs]),
            "entropy_change_over_the_last_tenth": summary(
                [run.entropy[-1] - run.entropy[-1 - batches // 10] for run in runs]
            ),
            "success": summary([run.success[-1] for run in runs]),
        }

    result = {
        "batches": batches,
        "GRPO": report(grpo),
        "DCPO by target entropy": {f"{target:g}": report(runs) for target, runs in dcpo.items()},
        "GRPO by entropy bonus": {f"{weight:g}": report(runs) for weight, runs in bonus.items()},
    }
    save("dcpo", draw(grpo, dcpo, bonus), result, options)
    return result


if __name__ == "__main__":
    main()
