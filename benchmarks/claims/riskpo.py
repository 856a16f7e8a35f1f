"""RiskPO's claim: maximising a value-at-risk of bundle scores keeps the policy's entropy and helps hard questions.

    python benchmarks/claims/riskpo.py

Tabular softmax policy: 20 questions with 12 answers each, the logit of the right answer going from -3 to 2 over the
questions; 5 completions per question, bundles of 5 questions, 400 on-policy steps of gradient descent, every batch of
advantages scaled to the same mean size. GRPO against RiskPO with tracked quantiles. Controls: the plain mean of the bundle
scores (RiskPO with quantiles outside all scores and its mean as baseline), which has the noise of the bundles but no risk
measure; and the entropy that GRPO has where its accuracy is RiskPO's, as slower learning keeps entropy too.
"""

from collections.abc import Callable

import torch
from common import BLUE, GREEN, ORANGE, generator, plt, read_options, save, summary

from alignkit.objectives.advantages import grpo_advantages, riskpo_advantages
from alignkit.objectives.sampling import riskpo_bundle_scores, riskpo_update_quantiles


QUESTIONS, ANSWERS, GENERATIONS, BUNDLE, LR, LEVELS = 20, 12, 5, 5, 1.0, [0.2, 0.8]
HARD = QUESTIONS // 3
PASS_AT = 16


def grpo() -> Callable:
    return lambda rewards, stream: grpo_advantages(rewards, GENERATIONS)


def bundle_order(stream: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Questions in a random order, so that bundles change as they do with a shuffled data set, and permutations."""
    questions = torch.randperm(QUESTIONS, generator=stream)
    return questions, torch.rand(QUESTIONS, GENERATIONS, generator=stream).argsort(dim=1)


def bundled(advantages: Callable) -> Callable:
    """Advantages of bundles of randomly ordered questions, back in the order of the questions."""

    def estimate(rewards: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
        questions, permutation = bundle_order(stream)
        values = advantages(rewards.view(QUESTIONS, GENERATIONS)[questions].flatten(), permutation)
        result = torch.empty_like(values).view(QUESTIONS, GENERATIONS)
        result[questions] = values.view(QUESTIONS, GENERATIONS)
        return result.flatten()

    return estimate


def riskpo() -> Callable:
    tracked: list[torch.Tensor] = []

    def advantages(rewards: torch.Tensor, permutation: torch.Tensor) -> torch.Tensor:
        scores = riskpo_bundle_scores(rewards, GENERATIONS, BUNDLE, permutation)
        if not tracked:
            tracked.append(riskpo_update_quantiles(LEVELS, scores))
            current = tracked[0]
        else:
            current = tracked[0]
            low, high = riskpo_update_quantiles(LEVELS, scores, current)
            tracked[0] = torch.stack([low, torch.maximum(low, high)])
        return riskpo_advantages(rewards, GENERATIONS, *current.tolist(), BUNDLE, permutation=permutation)

    return bundled(advantages)


def bundle_mean() -> Callable:
    def advantages(rewards: torch.Tensor, permutation: torch.Tensor) -> torch.Tensor:
        # Quantiles outside every score: the score itself, up to a constant.
        values = riskpo_advantages(rewards, GENERATIONS, -1.0, BUNDLE + 1.0, BUNDLE, permutation=permutation)
        return values - values.mean()

    return bundled(advantages)


METHODS = {"GRPO": grpo, "RiskPO": riskpo, "mean of the bundles": bundle_mean}
COLOURS = dict(zip(METHODS, (ORANGE, BLUE, GREEN), strict=True))


def train(make: Callable, seed: int, steps: int) -> list[tuple[float, float, float, float]]:
    """Entropy, accuracy, accuracy and pass@16 of the hardest third: before each step and at the end."""
    stream, estimate = generator(seed), make()
    logits = torch.zeros(QUESTIONS, ANSWERS, dtype=torch.float64)
    logits[:, 0] = torch.linspace(-3, 2, QUESTIONS)
    logits.requires_grad_()
    curve = []
    for step in range(steps + 1):
        probabilities = logits.detach().softmax(-1)
        right = probabilities[:, 0]
        curve.append(
            (
                float(torch.special.entr(probabilities).sum(-1).mean()),
                float(right.mean()),
                float(right[:HARD].mean()),
                float((1 - (1 - right[:HARD]) ** PASS_AT).mean()),
            )
        )
        if step == steps:
            break
        drawn = torch.multinomial(probabilities, GENERATIONS, replacement=True, generator=stream)
        values = estimate((drawn == 0).double().flatten(), stream).view_as(drawn)
        values = values / values.abs().mean().clamp(min=1e-12)
        loss = -(values * logits.log_softmax(-1).gather(1, drawn)).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - LR * gradient).detach().requires_grad_()
    return curve


def entropy_at(curve: torch.Tensor, accuracy: float) -> float:
    """Entropy of a run [steps, 4] at the first step that reaches an accuracy; at its end if none does."""
    reached = (curve[:, 1] >= accuracy).nonzero()
    return float(curve[int(reached[0]) if len(reached) else -1, 0])


def draw(curves: dict[str, torch.Tensor]) -> plt.Figure:
    figure, (entropy, exchange, hard) = plt.subplots(1, 3, figsize=(14, 4.4))
    for name, values in curves.items():
        mean = values.mean(dim=0)
        entropy.plot(mean[:, 0], color=COLOURS[name], label=name)
        exchange.plot(mean[:, 1], mean[:, 0], color=COLOURS[name], label=name)
        hard.plot(mean[:, 2], color=COLOURS[name], label=f"{name}, one try")
        hard.plot(mean[:, 3], color=COLOURS[name], ls="--", label=f"{name}, pass@{PASS_AT}")
    entropy.set(title="Entropy of the policy", xlabel="step", ylabel="nats")
    exchange.set(title="Entropy at equal accuracy", xlabel="accuracy, all questions", ylabel="nats")
    hard.set(title="Hardest third", xlabel="step", ylabel="accuracy")
    entropy.legend(fontsize=8)
    hard.legend(fontsize=7)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    steps = 20 if options.quick else 400
    curves = {
        name: torch.tensor([train(make, seed, steps) for seed in options.seeds], dtype=torch.float64)
        for name, make in METHODS.items()
    }
    matched = {name: [] for name in ("GRPO", "mean of the bundles")}
    for name, values in matched.items():
        for ours, theirs in zip(curves["RiskPO"], curves[name], strict=True):
            # At the accuracy that both reach.
            accuracy = min(float(ours[-1, 1]), float(theirs[-1, 1]))
            values.append(entropy_at(ours, accuracy) - entropy_at(theirs, accuracy))
    columns = ("entropy", "accuracy", "accuracy_hardest_third", f"pass_at_{PASS_AT}_hardest_third")
    result = {
        "steps": steps,
        "start": dict(zip(columns, curves["GRPO"][0, 0].tolist(), strict=True)),
        "final": {
            name: {column: summary(values[:, -1, index].tolist()) for index, column in enumerate(columns)}
            for name, values in curves.items()
        },
        "entropy_riskpo_minus_grpo_same_seed": summary(
            (curves["RiskPO"][:, -1, 0] - curves["GRPO"][:, -1, 0]).tolist()
        ),
        "entropy_of_riskpo_above_others_at_equal_accuracy": {
            name: summary(values) for name, values in matched.items()
        },
    }
    save("riskpo", draw(curves), result, options)
    return result


if __name__ == "__main__":
    main()
