"""Two-stage MPO's claim: DPO on the easy pairs, then RL from and to that model on the hard prompts, beats either alone.

    python benchmarks/claims/mpo.py

A log-linear policy over 8 responses per prompt, Bradley-Terry labels of a linear true reward (so that small gaps carry the
noise), a reward model with a small error; Adam, the same number of steps for every method, judged by the true reward on
held-out prompts. RL is the sampled leave-one-out gradient with the KL to its reference in the reward. Controls: the two
stages without the selection (all pairs, then all prompts), and DPO followed by RL with the first policy as reference.
The second picture flips a share of the labels, which the reward model does not see. One pair per prompt, as in the public
sets; the numbers with four are recorded too.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, minimise, plt, read_options, save, summary

from alignkit.objectives.preference import dpo_loss
from alignkit.objectives.sampling import mpo_split, mpo_threshold


RESPONSES, FEATURES, REWARD_STD, REWARD_ERROR = 8, 12, 1.6, 0.25
BETA_DPO, BETA_RL, RATE, SAMPLES, BATCH = 0.1, 0.05, 0.03, 4, 32
FLIPS = (0.0, 0.1, 0.2, 0.3)
METHODS = ("DPO, all pairs", "DPO, easy pairs", "RL, all prompts", "MPO", "MPO, no selection", "MPO, first reference")


class Task:
    """Prompts whose responses have random features, labelled pairs on them, and a reward model; the start is uniform."""

    def __init__(self, seed: int, prompts: int, held_out: int, pairs_per_prompt: int, flip: float) -> None:
        stream = generator(seed)
        direction, error = torch.randn(2, FEATURES, generator=stream, dtype=torch.float64)
        self.truth = REWARD_STD * direction / direction.norm()
        self.reward_model = self.truth + REWARD_ERROR * error / FEATURES**0.5 * REWARD_STD
        self.features = torch.randn(prompts, RESPONSES, FEATURES, generator=stream, dtype=torch.float64)
        self.held_out = torch.randn(held_out, RESPONSES, FEATURES, generator=stream, dtype=torch.float64)
        shape = (prompts, pairs_per_prompt)
        first = torch.randint(RESPONSES, shape, generator=stream)
        second = (first + torch.randint(1, RESPONSES, shape, generator=stream)) % RESPONSES
        rows = torch.arange(prompts)[:, None]
        gap = (self.features[rows, first] - self.features[rows, second]).flatten(0, 1)
        self.prompt = rows.expand(shape).flatten()
        wins = torch.rand(len(gap), generator=stream, dtype=torch.float64) < torch.sigmoid(gap @ self.truth)
        wins ^= torch.rand(len(gap), generator=stream, dtype=torch.float64) < flip
        self.gap = torch.where(wins[:, None], gap, -gap)
        scores = self.gap @ self.reward_model
        zero = torch.zeros_like(scores)
        self.split = mpo_split(scores, zero, mpo_threshold(scores.abs(), 0.5))
        self.share_wrong = {
            name: float((self.gap @ self.truth < 0)[mask].double().mean())
            for name, mask in (("easy", self.split.easy), ("hard", self.split.hard))
        }

    def dpo(self, start: torch.Tensor, pairs: torch.Tensor, steps: int, seed: int) -> torch.Tensor:
        """DPO with reference `start` on the marked pairs; the normaliser cancels in the gap of the log-ratios."""
        gaps, stream = self.gap[pairs], generator(seed)

        def loss(theta: torch.Tensor) -> torch.Tensor:
            batch = gaps[torch.randint(len(gaps), (BATCH,), generator=stream)]
            zero = torch.zeros(BATCH, dtype=torch.float64)
            return dpo_loss(batch @ theta, zero, batch @ start, zero, BETA_DPO).mean()

        return descend(loss, start, steps)

    def rl(
        self, start: torch.Tensor, reference: torch.Tensor, prompts: torch.Tensor, steps: int, seed: int
    ) -> torch.Tensor:
        """Leave-one-out policy gradient on the marked prompts, reward minus beta times the log-ratio to `reference`."""
        features, stream = self.features[prompts], generator(seed)

        def loss(theta: torch.Tensor) -> torch.Tensor:
            batch = features[torch.randint(len(features), (BATCH,), generator=stream)]
            logps = (batch @ theta).log_softmax(-1)
            with torch.no_grad():
                taken = torch.multinomial(logps.exp(), SAMPLES, replacement=True, generator=stream)
                ratio = (logps - (batch @ reference).log_softmax(-1)).gather(-1, taken)
                reward = (batch @ self.reward_model).gather(-1, taken) - BETA_RL * ratio
                advantage = (reward - reward.mean(-1, keepdim=True)) * SAMPLES / (SAMPLES - 1)
            return -(advantage * logps.gather(-1, taken)).mean()

        return descend(loss, start, steps)

    def evaluate(self, theta: torch.Tensor) -> float:
        """True reward on the held-out prompts."""
        probs = (self.held_out @ theta).softmax(-1)
        return float((probs * (self.held_out @ self.truth)).sum(-1).mean())

    def prompts_of(self, pairs: torch.Tensor) -> torch.Tensor:
        return self.prompt[pairs].unique()


def descend(loss, start: torch.Tensor, steps: int) -> torch.Tensor:
    theta = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(theta).backward()
        optimizer.step()
    return theta.detach()


def train(task: Task, steps: int, seed: int) -> dict[str, torch.Tensor]:
    """Every method, with `steps` steps in all."""
    start = torch.zeros(FEATURES, dtype=torch.float64)
    everything = torch.ones(len(task.gap), dtype=torch.bool)
    easy, half = task.split.easy, steps // 2
    hard_prompts, prompts = task.prompts_of(task.split.hard), torch.arange(len(task.features))
    dpo_easy, dpo_all = task.dpo(start, easy, half, seed), task.dpo(start, everything, half, seed)
    return {
        "DPO, all pairs": task.dpo(start, everything, steps, seed),
        "DPO, easy pairs": task.dpo(start, easy, steps, seed),
        "RL, all prompts": task.rl(start, start, prompts, steps, seed),
        "MPO": task.rl(dpo_easy, dpo_easy, hard_prompts, steps - half, seed),
        "MPO, no selection": task.rl(dpo_all, dpo_all, prompts, steps - half, seed),
        "MPO, first reference": task.rl(dpo_easy, start, hard_prompts, steps - half, seed),
    }


def tabular_optimum(seed: int) -> float:
    """Total variation between stage 2 trained to convergence on a table and pi_dpo exp(r / beta)."""
    stream = generator(seed)
    reference = torch.randn(RESPONSES, generator=stream, dtype=torch.float64).log_softmax(0)
    reward = 0.1 * torch.randn(RESPONSES, generator=stream, dtype=torch.float64)

    def objective(logits: torch.Tensor) -> torch.Tensor:
        logps = logits.log_softmax(0)
        return logps.exp() @ (BETA_RL * (logps - reference) - reward)

    policy = minimise(objective, reference).softmax(0)
    return float(0.5 * (policy - (reference + reward / BETA_RL).softmax(0)).abs().sum())


def draw(rewards: dict, flipped: dict, flips: tuple, best: dict) -> plt.Figure:
    figure, (bars, noise) = plt.subplots(1, 2, figsize=(12, 4.4), width_ratios=(1.3, 1))
    colours = dict(zip(METHODS, (ORANGE, RED, GREEN, BLUE, "#56B4E9", "#CC79A7"), strict=True))
    means = [rewards[name] for name in METHODS]
    bars.bar(
        range(len(METHODS)),
        [number["mean"] for number in means],
        yerr=[number["ci95"] or 0.0 for number in means],
        color=list(colours.values()),
        capsize=3,
    )
    bars.axhline(best["mean"], color=GREY, ls="--", lw=1)
    lowest = min(number["mean"] for number in means)
    bars.set(
        xticks=range(len(METHODS)),
        xticklabels=[name.replace(", ", ",\n") for name in METHODS],
        ylim=(lowest - 0.4, best["mean"] + 0.1),
        ylabel="true reward, held-out prompts",
        title="Same number of steps; dashed: best possible; axis does not begin at 0",
    )
    bars.tick_params(axis="x", labelsize=8)
    for name in METHODS:
        values = [flipped[str(flip)][name] for flip in flips]
        noise.errorbar(
            flips,
            [value["mean"] for value in values],
            [value["ci95"] or 0.0 for value in values],
            marker="o",
            capsize=2,
            color=colours[name],
            label=name,
        )
    noise.set(xlabel="share of labels flipped", ylabel="true reward, held-out prompts", xticks=flips)
    noise.set_title("Label noise that the reward model does not see")
    noise.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    sizes, steps = ((60, 100, 1), 40) if options.quick else ((200, 1000, 1), 300)
    flips = (0.0, 0.3) if options.quick else FLIPS
    flipped: dict[str, dict] = {}
    best, wrong = [], {"easy": [], "hard": []}
    raw: dict[str, list[float]] = {}
    for flip in flips:
        values: dict[str, list[float]] = {name: [] for name in METHODS}
        for seed in options.seeds:
            task = Task(seed, *sizes, flip=flip)
            for name, theta in train(task, steps, seed).items():
                values[name].append(task.evaluate(theta))
            if flip == 0.0:
                best.append(task.evaluate(1e6 * task.truth))
                for name, share in task.share_wrong.items():
                    wrong[name].append(share)
        if flip == 0.0:
            raw = values
        flipped[str(flip)] = {name: summary(numbers) for name, numbers in values.items()}
    more: dict[str, list[float]] = {name: [] for name in METHODS}
    for seed in options.seeds:
        for name, theta in train(task := Task(seed, *sizes[:2], 4, flip=0.0), steps, seed).items():
            more[name].append(task.evaluate(theta))
    result = {
        "steps": steps,
        "true_reward": {**flipped["0.0"], "best possible": summary(best)},
        "gain_of_mpo_over": {
            name: summary([ours - theirs for ours, theirs in zip(raw["MPO"], raw[name], strict=True)])
            for name in METHODS
            if name != "MPO"
        },
        "true_reward_with_four_pairs_per_prompt": {name: summary(values) for name, values in more.items()},
        "true_reward_by_share_of_flipped_labels": flipped,
        "share_of_labels_against_the_true_reward": {name: summary(shares) for name, shares in wrong.items()},
        "total_variation_of_stage_2_to_its_closed_form": summary([tabular_optimum(seed) for seed in options.seeds]),
    }
    save("mpo", draw(flipped["0.0"], flipped, flips, summary(best)), result, options)
    return result


if __name__ == "__main__":
    main()
