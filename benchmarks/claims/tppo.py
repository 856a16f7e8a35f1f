"""T-PPO's claim: not waiting for the longest response gives more reward for the same generation time.

    python benchmarks/claims/tppo.py

A response walks through 7 states of progress: "good" goes on to the next, "junk" stays, "stop" ends it; the reward is 1 for
stopping in the last state, responses are cut off at 64 tokens. A tabular softmax policy and critic, 32 slots, one update
for each window. The cost of a window is its longest slot in decode steps; success is computed exactly. PPO is the window of
64, in which every response ends. Controls: PPO that cuts responses off at 16 tokens for good, and windows of 16 in which a
response that goes on counts as ended (no bootstrap: V(s_l) = 0). Every method has the best learning rate of four, chosen on
3 other seeds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, plt, read_options, save, summary

from alignkit.objectives.advantages import whiten
from alignkit.objectives.policy import ppo_loss
from alignkit.objectives.sampling import tppo_advance, tppo_token_masks
from alignkit.objectives.values import egae, gae, value_loss


STATES, GOOD, STOP, LONGEST, SLOTS = 7, 0, 2, 64, 32
START = (0.0, 0.0, -1.0)  # of each state's logits: responses are long at first, as those of a reasoning model
LAM, EPSILON_LOW, EPSILON_HIGH = 0.95, 0.2, 0.28
RATES, CRITIC_RATE = (0.01, 0.03, 0.1, 0.3), 0.1
TUNING = [1000, 1001, 1002]
MILESTONES = (500, 1000, 2000, 3900)


@dataclass(frozen=True)
class Variant:
    """A window length, the longest response, and what stands for the rest of one that goes on."""

    window: int
    longest: int = LONGEST
    bootstrap: bool = True


VARIANTS = {
    "PPO (window 64)": (Variant(64), RED),
    "T-PPO, 32": (Variant(32), ORANGE),
    "T-PPO, 16": (Variant(16), BLUE),
    "T-PPO, 8": (Variant(8), GREEN),
    "PPO, cut off at 16": (Variant(16, longest=16), GREY),
    "window 16, no bootstrap": (Variant(16, bootstrap=False), "black"),
}


def success(logits: torch.Tensor) -> float:
    """Probability that a response of at most 64 tokens stops in the last state."""
    good, junk, stop = logits.softmax(-1).unbind(-1)
    here, done = torch.zeros(STATES, dtype=torch.float64), 0.0
    here[0] = 1.0
    for _ in range(LONGEST):
        done += float(here[-1] * stop[-1])
        moved = torch.cat([torch.zeros(1, dtype=torch.float64), (here * good)[:-1]])
        moved[-1] += here[-1] * good[-1]
        here = moved + here * junk
    return done


class Run:
    """One run: 32 slots whose responses go on from window to window, and what they have cost."""

    def __init__(self, variant: Variant, rate: float, seed: int) -> None:
        self.variant, self.stream = variant, generator(seed)
        self.logits = torch.tensor(START, dtype=torch.float64).repeat(STATES, 1).requires_grad_()
        self.values = torch.zeros(STATES, dtype=torch.float64, requires_grad=True)
        self.policy = torch.optim.Adam([self.logits], lr=rate)
        self.critic = torch.optim.Adam([self.values], lr=CRITIC_RATE)
        self.prompts, self.lengths, self.taken = torch.arange(SLOTS), torch.zeros(SLOTS, dtype=torch.long), SLOTS
        self.states = torch.zeros(SLOTS, LONGEST, dtype=torch.long)
        self.actions = torch.zeros(SLOTS, LONGEST, dtype=torch.long)
        self.progress = torch.zeros(SLOTS, dtype=torch.long)
        self.decode_steps = self.updates = 0

    def generate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A window: [S] tokens written, [S] whether the response has stopped."""
        probabilities = self.logits.detach().softmax(-1)
        room = (self.variant.longest - self.lengths).clamp(max=self.variant.window)
        new, stopped = torch.zeros_like(room), torch.zeros(SLOTS, dtype=torch.bool)
        while bool((going := ~stopped & (new < room)).any()):
            action = torch.multinomial(probabilities[self.progress], 1, generator=self.stream).squeeze(1)
            slots = going.nonzero()[:, 0]
            places = (self.lengths + new)[slots]
            self.states[slots, places], self.actions[slots, places] = self.progress[slots], action[slots]
            moved = (self.progress + (action == GOOD)).clamp(max=STATES - 1)
            self.progress = torch.where(going, moved, self.progress)
            stopped |= going & (action == STOP)
            new += going
            self.decode_steps += 1
        return new, stopped

    def step(self) -> None:
        """A window, one update of the policy on its tokens and one of the critic on the responses that ended."""
        new, stopped = self.generate()
        total = self.lengths + new
        mask = torch.arange(LONGEST) < total[:, None]
        goes_on = ~stopped & (total < self.variant.longest)
        last = (total - 1)[:, None]
        won = stopped & (self.states.gather(1, last).squeeze(1) == STATES - 1)
        rewards = torch.zeros(SLOTS, LONGEST, dtype=torch.float64).scatter(1, last, won.double()[:, None])
        masks = tppo_token_masks(mask, self.lengths, goes_on)
        old = self.values.detach()[self.states]
        rest = goes_on if self.variant.bootstrap else torch.zeros_like(goes_on)
        advantages = whiten(egae(rewards, old, mask, rest, lam=LAM).advantages, masks.policy_mask)
        targets = gae(rewards, old, mask, critic_lam=1.0).returns
        logps = self.logits.log_softmax(-1)[self.states, self.actions]
        loss = ppo_loss(logps, logps.detach(), advantages, masks.policy_mask, EPSILON_LOW, EPSILON_HIGH)
        self.policy.zero_grad()
        (loss.sum() / masks.policy_mask.sum()).backward()
        self.policy.step()
        if masks.value_mask.any():
            self.critic.zero_grad()
            losses = value_loss(self.values[self.states], old, targets, masks.value_mask)
            (losses.sum() / masks.value_mask.sum()).backward()
            self.critic.step()
        moved = tppo_advance(self.prompts, self.lengths, new, stopped, self.taken, 10**9, self.variant.longest)
        self.prompts, self.lengths, finished, self.taken = moved
        self.progress = torch.where(finished, 0, self.progress)
        self.updates += 1

    def curve(self, budget: int) -> Iterator[tuple[int, int, float]]:
        """(decode steps, updates, success) after every window within the budget."""
        while self.decode_steps < budget:
            yield self.decode_steps, self.updates, success(self.logits.detach())
            self.step()


def at(curve: list[tuple[int, int, float]], column: int, value: int) -> tuple[int, int, float]:
    """The last point of a curve at which decode steps (column 0) or updates (1) have not passed `value`."""
    return max((point for point in curve if point[column] <= value), key=lambda point: point[column])


def milestones(budget: int) -> list[int]:
    return [place for place in MILESTONES if place <= budget] or [budget]


def best_rate(variant: Variant, budget: int, seeds: list[int]) -> float:
    """The rate with the largest mean success over the milestones."""

    def score(rate: float) -> float:
        curves = [list(Run(variant, rate, seed).curve(budget)) for seed in seeds]
        return sum(at(curve, 0, place)[2] for curve in curves for place in milestones(budget))

    return max(RATES, key=score)


def draw(curves: dict[str, list[list[tuple[int, int, float]]]], budget: int) -> plt.Figure:
    figure, (cost, steps) = plt.subplots(1, 2, figsize=(11.5, 4.3))
    for name, runs in curves.items():
        colour = VARIANTS[name][1]
        grid = range(0, budget, max(budget // 60, 1))
        values = torch.tensor([[at(run, 0, place)[2] for place in grid] for run in runs])
        cost.plot(grid, values.mean(0), color=colour, label=name)
        if len(runs) > 1:
            half = 1.96 * values.std(0) / len(runs) ** 0.5
            cost.fill_between(grid, values.mean(0) - half, values.mean(0) + half, color=colour, alpha=0.12, lw=0)
        updates = range(min(run[-1][1] for run in runs) + 1)
        means = [sum(at(run, 1, update)[2] for run in runs) / len(runs) for update in updates]
        steps.plot(updates, means, color=colour)
    cost.set(
        title="For the same generation time", xlabel="decode steps (longest slot)", ylabel="success", ylim=(0, 1.02)
    )
    steps.set(title="For the same number of updates", xlabel="updates", ylim=(0, 1.02), xscale="symlog")
    cost.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    budget, tuning = (300, TUNING[:1]) if options.quick else (4000, TUNING)
    rates = {name: best_rate(variant, budget, tuning) for name, (variant, _) in VARIANTS.items()}
    curves = {
        name: [list(Run(variant, rates[name], seed).curve(budget)) for seed in options.seeds]
        for name, (variant, _) in VARIANTS.items()
    }
    ppo, ours = "PPO (window 64)", "T-PPO, 16"
    updates = min(run[-1][1] for name in (ppo, ours) for run in curves[name])
    result = {
        "learning_rate": rates,
        "success": {
            name: {str(place): summary([at(run, 0, place)[2] for run in runs]) for place in milestones(budget)}
            for name, runs in curves.items()
        },
        "equal_updates": {
            "updates": updates,
            **{
                name: {
                    "decode_steps": summary([at(run, 1, updates)[0] for run in curves[name]]),
                    "success": summary([at(run, 1, updates)[2] for run in curves[name]]),
                }
                for name in (ppo, ours)
            },
        },
    }
    save("tppo", draw(curves, budget), result, options)
    return result


if __name__ == "__main__":
    main()
