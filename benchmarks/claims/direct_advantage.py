"""Direct advantage's claim: from the same few responses, step-level advantages teach more than the outcome's.

    python benchmarks/claims/direct_advantage.py

Responses of 6 steps; at each step one of 8 context types is met and one of 3 actions taken, of which one is good for the
type (24 shared parameters). A response is right if at least 5 of its steps are good: 0.018 of them under the uniform
reference. The policy is the minimiser of the method's loss on the steps of N sampled responses, offline, and is judged by
its exact success. Step-level: at every state of the responses the reference's candidates are compared by the value of what
they lead to; exact values, a critic fitted to n Monte-Carlo completions of every state, or (control) each candidate's own
n completions without a critic. Outcome-level (control): each step taken gets its response's result minus the mean result.
"""

import math

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, minimise, plt, read_options, save, summary

from alignkit.objectives.advantages import direct_advantage_advantages
from alignkit.objectives.policy import direct_advantage_loss
from alignkit.objectives.values import direct_advantage_critic_loss


STEPS, TYPES, ACTIONS, NEEDED, CANDIDATES, BETA, MIN_GAP = 6, 8, 3, 5, 16, 0.02, 0.1
PATHS = (20, 50, 100, 200, 400)
METHODS = ("outcome", "step, exact values", "step, critic n=16", "step, critic n=4", "step, no critic n=4")


def success(left: int, good: int, rate: float) -> float:
    """Probability of a right response with `good` good steps so far and `left` steps to go, each good at `rate`."""
    needed = max(NEEDED - good, 0)
    return sum(math.comb(left, k) * rate**k * (1 - rate) ** (left - k) for k in range(needed, left + 1))


# Value under the reference after t steps of which g were good, [STEPS + 1, STEPS + 1].
VALUES = torch.tensor(
    [[success(STEPS - t, g, 1 / ACTIONS) if g <= t else 0.0 for g in range(STEPS + 1)] for t in range(STEPS + 1)],
    dtype=torch.float64,
)


class Paths:
    """Responses of the uniform reference: context types and actions [N, 6], and good steps so far before each step."""

    def __init__(self, count: int, seed: int) -> None:
        stream = self.stream = generator(seed)
        self.good_action = torch.randint(ACTIONS, (TYPES,), generator=stream)
        self.types = torch.randint(TYPES, (count, STEPS), generator=stream)
        self.actions = torch.randint(ACTIONS, (count, STEPS), generator=stream)
        good = (self.actions == self.good_action[self.types]).long()
        self.before = good.cumsum(1) - good
        self.result = (good.sum(1) >= NEEDED).double()
        self.time = torch.arange(STEPS).expand_as(self.types)

    def evaluate(self, theta: torch.Tensor) -> float:
        """Exact success of a policy."""
        rate = theta.softmax(-1)[torch.arange(TYPES), self.good_action].mean()
        return success(STEPS, 0, float(rate))

    def outcome(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(types, actions, advantages) with the response's result at each of its steps."""
        advantages = (self.result - self.result.mean())[:, None].expand_as(self.types)
        return self.types.flatten(), self.actions.flatten(), advantages.flatten()

    def step_level(self, completions: int | None, critic: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(types, actions, advantages) of the unique candidates of all states that are kept.

        `completions`: n of the Monte-Carlo values; None takes the exact ones.
        """
        shape = (self.types.numel(), CANDIDATES)
        types, before, time = (part.flatten()[:, None].expand(shape) for part in (self.types, self.before, self.time))
        actions = torch.randint(ACTIONS, shape, generator=self.stream)
        after = before + (actions == self.good_action[types]).long()
        values = VALUES
        if completions is not None and critic:
            values = self.fitted(completions)
        next_values = values[time + 1, after]
        if completions is not None and not critic:
            next_values = self.sampled(next_values, completions)
        ends = time + 1 == STEPS
        found = direct_advantage_advantages(
            next_values.flatten(),
            CANDIDATES,
            (after >= NEEDED).double().flatten(),
            ends.flatten(),
            actions.flatten(),
            MIN_GAP,
        )
        keep = found.keep
        return types.flatten()[keep], actions.flatten()[keep], found.advantages[keep]

    def sampled(self, values: torch.Tensor, completions: int) -> torch.Tensor:
        """Share of right ones among n completions, for each entry anew."""
        draws = torch.rand((*values.shape, completions), generator=self.stream, dtype=torch.float64)
        return (draws < values[..., None]).double().mean(-1)

    def fitted(self, completions: int) -> torch.Tensor:
        """A critic with a parameter for each (step, good ones so far), trained on the states of the responses."""
        time, before = self.time.flatten(), self.before.flatten()
        targets = self.sampled(VALUES[time, before], completions)

        def loss(logits: torch.Tensor) -> torch.Tensor:
            # Places that no response visits stay near the mean; the values of those that are seen hardly move.
            fit = direct_advantage_critic_loss(logits[time, before], targets).mean()
            return fit + 1e-4 * (logits - logits.mean()).square().mean()

        start = torch.zeros_like(VALUES)
        return minimise(loss, start, steps=200).sigmoid()


def train(steps: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """The policy that minimises the method's loss on the steps, from the reference."""
    types, actions, advantages = steps
    start = torch.zeros(TYPES, ACTIONS, dtype=torch.float64)
    if len(types) == 0:
        return start
    reference = torch.full((len(types),), -math.log(ACTIONS), dtype=torch.float64)

    def loss(theta: torch.Tensor) -> torch.Tensor:
        return direct_advantage_loss(theta.log_softmax(-1)[types, actions], reference, advantages, BETA).mean()

    return minimise(loss, start, steps=200)


def run(count: int, seed: int) -> dict[str, float]:
    """Success of every method on the same responses."""
    paths = Paths(count, seed)
    data = {
        "outcome": paths.outcome(),
        "step, exact values": paths.step_level(None, critic=False),
        "step, critic n=16": paths.step_level(16, critic=True),
        "step, critic n=4": paths.step_level(4, critic=True),
        "step, no critic n=4": paths.step_level(4, critic=False),
    }
    return {name: paths.evaluate(train(steps)) for name, steps in data.items()}


def draw(results: dict[str, dict[str, dict]], paths: tuple[int, ...]) -> plt.Figure:
    figure, axis = plt.subplots(figsize=(7.5, 4.6))
    for name, colour in zip(METHODS, (ORANGE, BLUE, GREEN, "#56B4E9", RED), strict=True):
        values = [results[str(count)][name] for count in paths]
        means, spread = [value["mean"] for value in values], [value["ci95"] or 0.0 for value in values]
        axis.errorbar(paths, means, spread, marker="o", capsize=3, color=colour, label=name)
    axis.axhline(success(STEPS, 0, 1 / ACTIONS), color=GREY, ls="--", lw=1, label="reference")
    axis.set(
        xscale="log",
        xticks=paths,
        xticklabels=[str(count) for count in paths],
        ylim=(0, None),
        xlabel="responses of the reference",
        ylabel="success of the policy (exact)",
        title="Offline training on the same responses, 6 steps, 5 of them to be good",
    )
    axis.minorticks_off()
    axis.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=8)
    paths = (20, 50) if options.quick else PATHS
    results, lead = {}, {}
    for count in paths:
        runs = [run(count, seed) for seed in options.seeds]
        results[str(count)] = {name: summary([item[name] for item in runs]) for name in METHODS}
        lead[str(count)] = summary([item["step, exact values"] - item["outcome"] for item in runs])
    result = {
        "beta": BETA,
        "success_of_the_reference": success(STEPS, 0, 1 / ACTIONS),
        "success": results,
        "lead_of_exact_steps_over_outcome": lead,
    }
    save("direct_advantage", draw(results, paths), result, options)
    return result


if __name__ == "__main__":
    main()
