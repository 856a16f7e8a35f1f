"""T-PPO's claim: not waiting for the longest response gives more reward for the same generation time.

    python benchmarks/claims/tppo.py

A response walks through 7 states of progress: "good" goes on to the next, "junk" stays, "stop" ends it; the reward is 1 for
stopping in the last state, responses are cut off at 64 tokens. On every eighth problem "good" goes on with a chance of 0.2
only: most right answers are short and a few are long, and the policy cannot tell which. A tabular softmax policy and
critic, 32 slots, one update for each window. The cost of a window is its longest slot in decode steps; success is computed
exactly. PPO is the window of 64, in which every response ends. Controls: PPO that cuts responses off at 16 tokens for good,
and windows of 16 in which a response that goes on counts as ended (no bootstrap: V(s_l) = 0). Every method has the best
learning rate of four, chosen on 3 other runs.
"""

from dataclasses import dataclass

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, plt, read_options, save, summary

from alignkit.objectives.advantages import whiten
from alignkit.objectives.policy import ppo_loss
from alignkit.objectives.sampling import tppo_advance, tppo_token_masks
from alignkit.objectives.values import egae, gae, value_loss


STATES, GOOD, STOP, LONGEST, SLOTS = 7, 0, 2, 64, 32
EVERY, HARD_CHANCE = 8, 0.2
START = (0.0, 0.0, -1.0)  # of each state's logits: responses are long at first, as those of a reasoning model
LAM, EPSILON_LOW, EPSILON_HIGH = 0.95, 0.2, 0.28
RATES, CRITIC_RATE = (0.01, 0.03, 0.1, 0.3), 0.1
TUNING_SEED = 1000
MILESTONES = (250, 500, 1000, 1900)
Curve = list[tuple[int, int, float]]  # decode steps, updates, success


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
    """Probability that a response of at most 64 tokens stops in the last state, over all problems."""
    return (solved(logits, HARD_CHANCE) + (EVERY - 1) * solved(logits, 1.0)) / EVERY


def solved(logits: torch.Tensor, chance: float) -> float:
    """The same for a problem on which "good" goes on with this chance."""
    good, junk, stop = logits.softmax(-1).unbind(-1)
    good, junk = good * chance, junk + good * (1 - chance)
    moves = torch.diag(junk) + torch.diag(good[:-1], 1)
    moves[-1, -1] += good[-1]
    # Expected visits of each state by a response that starts in the first: (I - M^64) (I - M)^-1.
    one = torch.eye(STATES, dtype=torch.float64)
    visits = torch.linalg.solve((one - moves).T, (one - torch.linalg.matrix_power(moves, LONGEST))[0])
    return float(visits[-1] * stop[-1])


class Runs:
    """Several runs side by side, each with 32 slots, a policy and a critic of its own; `rates` holds one rate for each."""

    def __init__(self, variant: Variant, rates: list[float], seed: int) -> None:
        self.variant, self.stream, count = variant, generator(seed), len(rates)
        start = torch.tensor(START, dtype=torch.float64).repeat(STATES, 1)
        self.logits = [start.clone().requires_grad_() for _ in rates]
        self.values = torch.zeros(count, STATES, dtype=torch.float64, requires_grad=True)
        groups = [{"params": [item], "lr": rate} for item, rate in zip(self.logits, rates, strict=True)]
        self.policy, self.critic = torch.optim.Adam(groups), torch.optim.Adam([self.values], lr=CRITIC_RATE)
        self.prompts, self.taken = torch.arange(SLOTS).repeat(count, 1), [SLOTS] * count
        self.lengths = torch.zeros(count, SLOTS, dtype=torch.long)
        self.progress = torch.zeros(count, SLOTS, dtype=torch.long)
        self.states = torch.zeros(count, SLOTS, LONGEST, dtype=torch.long)
        self.actions = torch.zeros(count, SLOTS, LONGEST, dtype=torch.long)
        self.run = torch.arange(count)[:, None]
        self.decode_steps = torch.zeros(count, dtype=torch.long)

    def generate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A window: [R, S] tokens written, [R, S] whether the response has stopped."""
        probabilities = torch.stack(self.logits).detach().softmax(-1)
        room = (self.variant.longest - self.lengths).clamp(max=self.variant.window)
        new, stopped = torch.zeros_like(room), torch.zeros_like(room, dtype=torch.bool)
        chance = torch.where(self.prompts % EVERY == 0, HARD_CHANCE, 1.0)
        while bool((going := ~stopped & (new < room)).any()):
            drawn = torch.multinomial(probabilities[self.run, self.progress].flatten(0, 1), 1, generator=self.stream)
            action = drawn.view_as(new)
            run, slot = going.nonzero(as_tuple=True)
            places = (self.lengths + new)[going]
            self.states[run, slot, places], self.actions[run, slot, places] = self.progress[going], action[going]
            goes = (action == GOOD) & (torch.rand(new.shape, generator=self.stream) < chance)
            moved = (self.progress + goes).clamp(max=STATES - 1)
            self.progress = torch.where(going, moved, self.progress)
            stopped |= going & (action == STOP)
            new += going
        self.decode_steps += new.amax(1)
        return new, stopped

    def step(self) -> None:
        """A window, one update of each policy on its tokens and one of each critic on the responses that ended."""
        new, stopped = self.generate()
        total = self.lengths + new
        goes_on = ~stopped & (total < self.variant.longest)
        last = (total - 1)[..., None]
        won = stopped & (self.states.gather(2, last).squeeze(2) == STATES - 1)
        rewards = torch.zeros(self.states.shape, dtype=torch.float64).scatter(2, last, won.double()[..., None])
        logps = torch.stack(self.logits).log_softmax(-1)[self.run[..., None], self.states, self.actions]
        values = self.values[self.run[..., None], self.states]
        flat = [item.flatten(0, 1) for item in (rewards, logps, values, total, self.lengths, goes_on)]
        losses = self.losses(*flat)
        for optimizer, loss in zip((self.policy, self.critic), losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for run in range(len(self.logits)):
            moved = tppo_advance(
                self.prompts[run],
                self.lengths[run],
                new[run],
                stopped[run],
                self.taken[run],
                10**9,
                self.variant.longest,
            )
            self.prompts[run], self.lengths[run], finished, self.taken[run] = moved
            self.progress[run] = torch.where(finished, 0, self.progress[run])

    def losses(
        self,
        rewards: torch.Tensor,
        logps: torch.Tensor,
        values: torch.Tensor,
        total: torch.Tensor,
        start: torch.Tensor,
        goes_on: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The policies' and the critics' losses, each summed over the runs; tensors are [R * S, 64] or [R * S]."""
        mask, old = torch.arange(LONGEST) < total[:, None], values.detach()
        masks = tppo_token_masks(mask, start, goes_on)
        rest = goes_on if self.variant.bootstrap else torch.zeros_like(goes_on)
        advantages = egae(rewards, old, mask, rest, lam=LAM).advantages
        # Every run whitens its own tokens.
        own = zip(advantages.split(SLOTS), masks.policy_mask.split(SLOTS), strict=True)
        advantages = torch.cat([whiten(*run) for run in own])
        targets = gae(rewards, old, mask, critic_lam=1.0).returns
        policy = ppo_loss(logps, logps.detach(), advantages, masks.policy_mask, EPSILON_LOW, EPSILON_HIGH)
        critic = value_loss(values, old, targets, masks.value_mask)

        def mean_of_runs(losses: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
            counts = counted.view(-1, SLOTS * LONGEST).sum(1).clamp(min=1)
            return (losses.view(-1, SLOTS * LONGEST).sum(1) / counts).sum()

        return mean_of_runs(policy, masks.policy_mask), mean_of_runs(critic, masks.value_mask)

    def curves(self, budget: int) -> list[Curve]:
        """For each run (decode steps, updates, success) after every window within the budget."""
        curves: list[Curve] = [[] for _ in self.logits]
        updates = 0
        while bool((self.decode_steps < budget).any()):
            for run, curve in enumerate(curves):
                if self.decode_steps[run] < budget:
                    curve.append((int(self.decode_steps[run]), updates, success(self.logits[run].detach())))
            self.step()
            updates += 1
        return curves


def at(curve: Curve, column: int, value: int) -> tuple[int, int, float]:
    """The last point of a curve at which decode steps (column 0) or updates (1) have not passed `value`."""
    return max((point for point in curve if point[column] <= value), key=lambda point: point[column])


def milestones(budget: int) -> list[int]:
    return [place for place in MILESTONES if place <= budget] or [budget]


def best_rate(variant: Variant, budget: int, tuning: int) -> float:
    """The rate with the largest mean success over the milestones, of so many runs each."""
    rates = [rate for rate in RATES for _ in range(tuning)]
    scores = dict.fromkeys(RATES, 0.0)
    for rate, curve in zip(rates, Runs(variant, rates, TUNING_SEED).curves(budget), strict=True):
        scores[rate] += sum(at(curve, 0, place)[2] for place in milestones(budget))
    return max(scores, key=scores.__getitem__)


def draw(curves: dict[str, list[Curve]], budget: int) -> plt.Figure:
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
    steps.set(
        title="For the same number of updates", xlabel="updates", ylim=(0, 1.02), xscale="symlog", xlim=(0, None)
    )
    cost.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    budget, tuning = (200, 1) if options.quick else (2000, 3)
    rates = {name: best_rate(variant, budget, tuning) for name, (variant, _) in VARIANTS.items()}
    curves = {
        name: Runs(variant, [rates[name]] * len(options.seeds), options.seeds[0]).curves(budget)
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
