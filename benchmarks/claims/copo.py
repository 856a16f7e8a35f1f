"""COPO's claim: prompts whose answers all agree, which GRPO cannot use, give a signal too.

    python benchmarks/claims/copo.py

Tabular softmax over 6 answers for each of 16 prompts, the logit of the right answer from -3 to 1, G = 6, on-policy Adam
steps. Share of the prompts whose completions have any signal, and exact accuracy. Controls: the global advantage alone
(gamma 0 would be half of each; here its weight is 1), which tells what the gate is for, and GRPO with every reward centred
on the batch instead of the group (no division), the plainest way to use agreeing groups.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, generator, plt, read_options, save, summary

from alignkit.objectives.advantages import copo_advantages, grpo_advantages
from alignkit.objectives.policy import copo_loss


PROMPTS, ANSWERS, GENERATIONS, RIGHT, LR = 16, 6, 6, 0, 0.05
METHODS = ("COPO", "GRPO", "global advantage alone", "rewards minus batch mean")
COLOURS = dict(zip(METHODS, (BLUE, ORANGE, GREEN, GREY), strict=True))


def signals(method: str, rewards: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Local advantage, global advantage and weight of the local loss, each [N]."""
    zero, one = torch.zeros_like(rewards), torch.ones_like(rewards)
    if method == "GRPO":
        return grpo_advantages(rewards, GENERATIONS), zero, one
    if method == "rewards minus batch mean":
        return rewards - rewards.mean(), zero, one
    found = copo_advantages(rewards, GENERATIONS, answers)
    weight = found.local_weight if method == "COPO" else zero
    return found.local_advantages, found.global_advantages, weight


def run(method: str, seed: int, steps: int) -> dict[str, list[float]]:
    stream = generator(seed)
    logits = torch.zeros(PROMPTS, ANSWERS, dtype=torch.float64)
    logits[:, RIGHT] = torch.linspace(-3, 1, PROMPTS, dtype=torch.float64)
    logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=LR)
    curves: dict[str, list[float]] = {"signal": [], "accuracy": []}
    for _ in range(steps):
        logps = logits.log_softmax(-1)
        curves["accuracy"].append(float(logps.detach().exp()[:, RIGHT].mean()))
        answers = torch.multinomial(logps.detach().exp(), GENERATIONS, replacement=True, generator=stream)
        rewards = (answers == RIGHT).double().flatten()
        local, between, weight = signals(method, rewards, answers.flatten())
        signal = (weight * local).abs() + ((1 - weight) * between).abs()
        # Tabular: what is not felt at 1e-3 of a usual advantage moves nothing.
        curves["signal"].append(float((signal.view(PROMPTS, -1).amax(dim=1) > 1e-3).double().mean()))
        chosen = logps.gather(1, answers).flatten()[:, None]
        loss = copo_loss(chosen, None, local, between, weight, torch.ones_like(chosen)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return curves


def draw(curves: dict) -> plt.Figure:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4))
    for axis, name, title in zip(axes, ("signal", "accuracy"), ("prompts with a signal", "accuracy"), strict=True):
        for method, runs in curves.items():
            mean = [sum(values) / len(values) for values in zip(*(run[name] for run in runs), strict=True)]
            axis.plot(mean, color=COLOURS[method], label=method)
        axis.set(xlabel="step", ylabel=title, ylim=(0, 1.02))
    axes[0].legend(fontsize=8, loc="lower left")
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=20)
    steps = 30 if options.quick else 150
    curves = {method: [run(method, seed, steps) for seed in options.seeds] for method in METHODS}
    result = {
        "steps": steps,
        "results": {
            method: {
                "share_of_prompts_with_a_signal": summary([sum(run["signal"]) / steps for run in runs]),
                "final_accuracy": summary([run["accuracy"][-1] for run in runs]),
                "mean_accuracy": summary([sum(run["accuracy"]) / steps for run in runs]),
            }
            for method, runs in curves.items()
        },
    }
    save("copo", draw(curves), result, options)
    return result


if __name__ == "__main__":
    main()
