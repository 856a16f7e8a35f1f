"""GDPO's claim: with several rewards, normalising each one first keeps a rare reward from being drowned by an easy one.

    python benchmarks/claims/gdpo.py

Tabular policy: 16 prompts with 4 outcomes each (correct or not, formatted or not), whose start probabilities make the
format easy (38 %) and the right answer rare (10 %); both rewards are 0 or 1. 8 completions per prompt, 150 on-policy steps
of gradient descent, every batch of advantages scaled to the same mean size, the same seeds for all. GRPO (sum, then
normalise) against GDPO, both also with the format reward conditioned on a right answer. (At equal size GDPO without the
normalisation over the batch is the same.) Controls: GRPO at twice the weight of the right answer, and both methods under
Adam, which divides the size of every gradient out again.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, plt, read_options, save, summary

from alignkit.objectives.advantages import gdpo_advantages, grpo_advantages
from alignkit.objectives.rewards import gdpo_condition_rewards


PROMPTS, GENERATIONS, SIZE = 16, 8, 0.8
LR = {torch.optim.SGD: 0.7, torch.optim.Adam: 0.02}
# Outcomes: wrong, wrong but formatted, right, right and formatted.
START = torch.tensor([0.55, 0.35, 0.07, 0.03], dtype=torch.float64)
CORRECT = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
FORMATTED = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)


def conditioned(rewards: torch.Tensor) -> torch.Tensor:
    return gdpo_condition_rewards(rewards, target=1, condition=0, threshold=1.0)


METHODS = {
    "GRPO": lambda rewards: grpo_advantages(rewards, GENERATIONS),
    "GDPO": lambda rewards: gdpo_advantages(rewards, GENERATIONS),
    "GRPO, right answer weighs 2": lambda rewards: grpo_advantages(rewards, GENERATIONS, reward_weights=[2.0, 1.0]),
    "GRPO, conditioned": lambda rewards: grpo_advantages(conditioned(rewards), GENERATIONS),
    "GDPO, conditioned": lambda rewards: gdpo_advantages(conditioned(rewards), GENERATIONS),
}
COLOURS = dict(zip(METHODS, (ORANGE, BLUE, GREY, RED, GREEN), strict=True))


def train(advantages, seed: int, steps: int, optimizer_class=torch.optim.SGD) -> list[tuple[float, float, float]]:
    """Rates of right and of formatted answers before each step and at the end, and distinct advantages per batch."""
    stream = generator(seed)
    logits = START.log().repeat(PROMPTS, 1).requires_grad_()
    optimizer = optimizer_class([logits], lr=LR[optimizer_class])
    curve = []
    for step in range(steps + 1):
        probabilities = logits.detach().softmax(-1)
        drawn = torch.multinomial(probabilities, GENERATIONS, replacement=True, generator=stream)
        values = advantages(torch.stack([CORRECT[drawn], FORMATTED[drawn]], dim=-1).flatten(0, 1))
        distinct = len(values.mul(1e6).round().unique())
        curve.append((*((probabilities @ rate).mean().item() for rate in (CORRECT, FORMATTED)), distinct))
        if step == steps:
            break
        values = values * SIZE / values.abs().mean().clamp(min=1e-12)
        logps = logits.log_softmax(-1).gather(1, drawn)
        optimizer.zero_grad()
        (-values.view_as(logps) * logps).mean().backward()
        optimizer.step()
    return curve


def draw(curves: dict[str, torch.Tensor]) -> plt.Figure:
    figure, (correct, formatted, distinct) = plt.subplots(1, 3, figsize=(14, 4.4))
    for name, values in curves.items():
        mean = values.mean(dim=0)
        style = {"color": COLOURS[name], "ls": "--" if "conditioned" in name else "-", "label": name}
        for axis, column in ((correct, 0), (formatted, 1)):
            axis.plot(mean[:, column], **style)
    for axis, title in ((correct, "Right answers (the rare reward)"), (formatted, "Formatted answers (the easy one)")):
        axis.set(xlabel="step", ylabel="rate", title=title, ylim=(0, None))
    correct.legend(fontsize=8)
    names = ("GRPO", "GDPO")
    distinct.bar(names, [float(curves[n][:, :, 2].mean()) for n in names], color=[COLOURS[n] for n in names])
    distinct.set(title=f"Distinct advantages in a batch of {PROMPTS * GENERATIONS}", ylabel="mean over the run")
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    steps = 20 if options.quick else 150
    curves = {
        name: torch.tensor([train(advantages, seed, steps) for seed in options.seeds], dtype=torch.float64)
        for name, advantages in METHODS.items()
    }
    with_adam = {
        name: [train(METHODS[name], seed, steps, torch.optim.Adam)[-1] for seed in options.seeds]
        for name in ("GRPO", "GDPO")
    }
    gain = (curves["GDPO"] - curves["GRPO"])[:, -1]
    result = {
        "steps": steps,
        "final": {
            name: {
                "correct": summary(values[:, -1, 0].tolist()),
                "formatted": summary(values[:, -1, 1].tolist()),
                "distinct_advantages_per_batch": summary(values[:, :, 2].mean(dim=1).tolist()),
            }
            for name, values in curves.items()
        },
        "final_with_adam": {
            name: {"correct": summary([end[0] for end in ends]), "formatted": summary([end[1] for end in ends])}
            for name, ends in with_adam.items()
        },
        "start": {"correct": float(START @ CORRECT), "formatted": float(START @ FORMATTED)},
        "gdpo_minus_grpo_same_seed": {
            "correct": summary(gain[:, 0].tolist()),
            "formatted": summary(gain[:, 1].tolist()),
            "share_of_seeds_with_more_right_answers": float((gain[:, 0] > 0).double().mean()),
        },
    }
    save("gdpo", draw(curves), result, options)
    return result


if __name__ == "__main__":
    main()
