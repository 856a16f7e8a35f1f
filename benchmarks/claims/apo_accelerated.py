"""Accelerated preference optimisation's claim: extrapolating past each iterate reaches a given reward in fewer iterations.

    python benchmarks/claims/apo_accelerated.py

Twenty responses, a fixed Bradley-Terry reward, beta = 1, alpha in 0, 0.3, 0.6. Exact proximal steps first, against their
closed form. REQUIRED control: plain iteration (alpha = 0) with the weaker regularisation beta (1 - alpha), which takes
steps as large as momentum's in the end. Then the same with sampled pairs and a bounded number of gradient steps per
iteration, for several numbers of pairs: extrapolation amplifies the noise of each iterate.
"""

import torch
from common import BLUE, GREY, ORANGE, generator, plt, read_options, save, summary

from alignkit.objectives.preference import apo_accelerated_extrapolate, apo_accelerated_policy, dpo_loss


RESPONSES, BETA, ITERATIONS, RATE, GRADIENT_STEPS = 20, 1.0, 10, 0.1, 30
# Name -> (momentum, strength of the regularisation).
METHODS = {
    "alpha 0": (0.0, BETA),
    "alpha 0.3": (0.3, BETA),
    "alpha 0.6": (0.6, BETA),
    "alpha 0, beta x 0.7": (0.0, 0.7 * BETA),
    "alpha 0, beta x 0.4": (0.0, 0.4 * BETA),
}
STYLES = dict(zip(METHODS, ((GREY, "o-"), (ORANGE, "o-"), (BLUE, "o-"), (ORANGE, "s--"), (BLUE, "s--")), strict=True))
PAIRS = (50, 200, 1000, 5000)


def iterate(step, alpha: float, iterations: int) -> list[torch.Tensor]:
    """The trained iterates of the loop: `step(policy)` trains from, samples from and is regularised to the policy."""
    policy = previous = torch.zeros(RESPONSES, dtype=torch.float64)
    trained = []
    for iteration in range(iterations):
        current = step(policy, iteration)
        policy = apo_accelerated_extrapolate(current, previous, alpha)
        previous = current
        trained.append(current)
    return trained


def regret(logits: torch.Tensor, reward: torch.Tensor) -> float:
    return float(reward.max() - logits.softmax(0) @ reward)


def closed_form(reward: torch.Tensor, alpha: float, beta: float, iterations: int) -> torch.Tensor:
    """Logits of the T-th trained iterate of the exact steps."""
    steps = iterations - alpha * (1 - alpha**iterations) / (1 - alpha)
    return reward / beta * steps / (1 - alpha)


def sampled_step(reward: torch.Tensor, beta: float, pairs: int, seed: int):
    """DPO on pairs drawn from the policy and labelled by the reward, a bounded number of gradient steps."""

    def step(policy: torch.Tensor, iteration: int) -> torch.Tensor:
        stream = generator(1000 * seed + iteration)
        first, second = torch.multinomial(policy.softmax(0), 2 * pairs, replacement=True, generator=stream).view(2, -1)
        chance = torch.sigmoid(reward[first] - reward[second])
        wins = torch.rand(pairs, generator=stream, dtype=torch.float64) < chance
        chosen, rejected = torch.where(wins, first, second), torch.where(wins, second, first)
        reference, logits = policy.log_softmax(0), policy.clone().requires_grad_()
        optimizer = torch.optim.Adam([logits], lr=RATE)
        for _ in range(GRADIENT_STEPS):
            logps = logits.log_softmax(0)
            loss = dpo_loss(logps[chosen], logps[rejected], reference[chosen], reference[rejected], beta).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return logits.detach()

    return step


def draw(exact: dict, sampled: dict, pairs_shown: int, by_pairs: dict) -> plt.Figure:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.4))
    for name, (colour, style) in STYLES.items():
        for axis, curves in ((left, exact), (middle, sampled)):
            values = curves[name]
            axis.plot(
                range(1, len(values) + 1), [value["mean"] for value in values], style, ms=4, color=colour, label=name
            )
        counts = list(by_pairs)
        right.errorbar(
            [int(count) for count in counts],
            [by_pairs[count][name]["mean"] for count in counts],
            [by_pairs[count][name]["ci95"] or 0.0 for count in counts],
            fmt=style,
            ms=4,
            capsize=2,
            color=colour,
            label=name,
        )
    left.set(title="Exact steps", yscale="log")
    middle.set(title=f"{pairs_shown:,} sampled pairs, {GRADIENT_STEPS} gradient steps per iteration")
    for axis in (left, middle):
        axis.set(xlabel="iteration", ylabel="best reward minus expected reward")
    right.set(xscale="log", xlabel="sampled pairs per iteration", ylabel="the same after the last iteration")
    right.set_title("Sampled pairs: mean and 95 % interval")
    left.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    iterations, counts = (4, (50, 200)) if options.quick else (ITERATIONS, PAIRS)
    rewards = [torch.randn(RESPONSES, generator=generator(seed), dtype=torch.float64) for seed in options.seeds]
    exact: dict[str, list] = {}
    errors = []
    for name, (alpha, beta) in METHODS.items():
        runs = []
        for reward in rewards:
            trained = iterate(lambda policy, _, r=reward, b=beta: policy + r / b, alpha, iterations)
            runs.append([regret(logits, reward) for logits in trained])
            form = closed_form(reward, alpha, beta, iterations).softmax(0)
            errors.append(float((trained[-1].softmax(0) - form).abs().max()))
            by_policy = apo_accelerated_policy(trained[-1], trained[-2], alpha).exp()
            by_weights = apo_accelerated_extrapolate(trained[-1], trained[-2], alpha).softmax(0)
            errors.append(float((by_policy - by_weights).abs().max()))
        exact[name] = [summary([run[index] for run in runs]) for index in range(iterations)]
    curves: dict[str, dict[str, list]] = {}
    for count in counts:
        curves[str(count)] = {}
        for name, (alpha, beta) in METHODS.items():
            runs = [
                [
                    regret(logits, reward)
                    for logits in iterate(sampled_step(reward, beta, count, seed), alpha, iterations)
                ]
                for seed, reward in zip(options.seeds, rewards, strict=True)
            ]
            curves[str(count)][name] = [summary([run[index] for run in runs]) for index in range(iterations)]
    by_pairs = {count: {name: values[-1] for name, values in curves[count].items()} for count in curves}
    shown = counts[1]
    result = {
        "beta": BETA,
        "iterations": iterations,
        "exact_regret_by_iteration": exact,
        "largest_error_to_the_closed_form_and_between_the_two_ways_to_extrapolate": max(errors),
        "sampled_regret_by_pairs_and_iteration": curves,
        "sampled_regret_after_the_last_iteration": by_pairs,
    }
    save("apo_accelerated", draw(exact, curves[str(shown)], shown, by_pairs), result, options)
    return result


if __name__ == "__main__":
    main()
