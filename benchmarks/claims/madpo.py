"""MADPO's claim: amplifying the pairs that a reward model finds hard, and damping the easy ones, gives a better policy.

    python benchmarks/claims/madpo.py

A log-linear policy over 8 responses per prompt, Bradley-Terry labels of a linear true reward, a reward model fitted to the
same pairs; DPO and MADPO (its default c_max, c_min, lam, tau) trained to convergence at the same beta, judged by the true
reward on held-out prompts. REQUIRED control: DPO with a lower beta, chosen so that its KL to the reference equals MADPO's;
what it reaches too is due to the strength of the optimisation and not to the margins.
"""

import itertools
import math

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, minimise, plt, read_options, save, summary

from alignkit.objectives.preference import dpo_loss, madpo_coefficient, madpo_loss


RESPONSES, FEATURES, BETA, REWARD_STD = 8, 12, 1.0, 1.6
BETAS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
METHODS = ("DPO", "MADPO", "DPO at MADPO's KL")


class Task:
    """Prompts whose responses have random features; the reference policy is uniform."""

    def __init__(self, seed: int, prompts: int, held_out: int, pairs_per_prompt: int) -> None:
        stream = generator(seed)
        direction = torch.randn(FEATURES, generator=stream, dtype=torch.float64)
        self.truth = REWARD_STD * direction / direction.norm()
        train = torch.randn(prompts, RESPONSES, FEATURES, generator=stream, dtype=torch.float64)
        self.held_out = torch.randn(held_out, RESPONSES, FEATURES, generator=stream, dtype=torch.float64)
        shape = (prompts, pairs_per_prompt)
        first = torch.randint(RESPONSES, shape, generator=stream)
        second = (first + torch.randint(1, RESPONSES, shape, generator=stream)) % RESPONSES
        rows = torch.arange(prompts)[:, None]
        gap = (train[rows, first] - train[rows, second]).flatten(0, 1)
        wins = torch.rand(len(gap), generator=stream, dtype=torch.float64) < torch.sigmoid(gap @ self.truth)
        self.gap = torch.where(wins[:, None], gap, -gap)
        zero = torch.zeros(len(gap), dtype=torch.float64)
        # The reward model: a linear head on the same features, maximum likelihood on the same pairs.
        self.reward_model = self.fit(lambda gap: dpo_loss(gap, zero, zero, zero, beta=1.0))
        self.margins = self.gap @ self.reward_model
        self.zero = zero

    def fit(self, loss) -> torch.Tensor:
        """Parameters of the log-linear policy; the normaliser cancels in the gap of the two log-ratios."""
        return minimise(lambda theta: loss(self.gap @ theta).mean(), torch.zeros(FEATURES, dtype=torch.float64))

    def dpo(self, beta: float) -> torch.Tensor:
        return self.fit(lambda gap: dpo_loss(gap, self.zero, self.zero, self.zero, beta))

    def madpo(self, beta: float) -> torch.Tensor:
        return self.fit(lambda gap: madpo_loss(gap, self.zero, self.zero, self.zero, self.margins, beta))

    def evaluate(self, theta: torch.Tensor) -> tuple[float, float]:
        """True reward and KL to the reference on the held-out prompts."""
        logps = (self.held_out @ theta).log_softmax(-1)
        reward = (logps.exp() * (self.held_out @ self.truth)).sum(-1).mean()
        kl = (logps.exp() * (logps + math.log(RESPONSES))).sum(-1).mean()
        return float(reward), float(kl)

    def dpo_with_kl(self, kl: float) -> tuple[torch.Tensor, float]:
        """DPO and the beta at which it has the given KL, by bisection (KL falls with beta)."""
        low, high = 0.05, 20.0
        for _ in range(25):
            beta = math.sqrt(low * high)
            if self.evaluate(self.dpo(beta))[1] > kl:
                low = beta
            else:
                high = beta
        return self.dpo(beta), beta


def single_pair_optimum(margins: torch.Tensor) -> torch.Tensor:
    """Implicit margin of pairs that share no parameter, with infinitely many labels drawn with P = sigma(h)."""
    chance, zero = torch.sigmoid(margins), torch.zeros_like(margins)

    def population(gap: torch.Tensor) -> torch.Tensor:
        won = madpo_loss(gap, zero, zero, zero, margins, BETA)
        lost = madpo_loss(-gap, zero, zero, zero, -margins, BETA)
        # Divided by the chance of the rarer label, so that the easy pairs converge too.
        return ((chance * won + (1 - chance) * lost) / torch.minimum(chance, 1 - chance)).sum()

    return BETA * minimise(population, zero)


def by_margin(task: Task, policies: dict[str, torch.Tensor]) -> dict[str, list[dict[str, float]]]:
    """Mean implicit margin beta * gap of each policy in bins of the size of the reward margin h."""
    size, sign = task.margins.abs(), task.margins.sign()
    edges = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    result: dict[str, list[dict[str, float]]] = {name: [] for name in policies}
    for low, high in itertools.pairwise(edges):
        inside = (size >= low) & (size < high)
        if not bool(inside.any()):
            continue
        for name, theta in policies.items():
            implicit = (BETA * (task.gap @ theta) * sign)[inside].mean()
            result[name].append(
                {
                    "mean_h": float(size[inside].mean()),
                    "implicit_margin": float(implicit),
                    "target": float((madpo_coefficient(size) * size)[inside].mean()),
                }
            )
    return result


def draw(
    task: Task, policies: dict, single: tuple[torch.Tensor, torch.Tensor], points: dict, curves: dict
) -> plt.Figure:
    figure, (margins, rewards, frontier) = plt.subplots(1, 3, figsize=(14, 4.4))
    colours = dict(zip(METHODS, (ORANGE, BLUE, GREEN), strict=True))
    grid = torch.linspace(-10, 10, 200, dtype=torch.float64)
    for name, marker in (("DPO", "o"), ("MADPO", "s")):
        margins.scatter(
            task.margins[:400],
            BETA * (task.gap @ policies[name])[:400],
            s=8,
            marker=marker,
            alpha=0.6,
            color=colours[name],
            label=f"{name}, shared parameters",
        )
    margins.plot(*single, "D", ms=4, color=RED, label="MADPO, each pair alone")
    margins.plot(grid, grid, color=GREY, lw=1, label="h")
    margins.plot(grid, madpo_coefficient(grid) * grid, color=GREY, lw=1, ls="--", label="c(|h|) h")
    margins.set(xlabel="margin h of the reward model", ylabel="implicit margin, beta times gap", title="Seed 0")
    margins.set(xlim=(-10, 10), ylim=(-32, 40))
    margins.legend(fontsize=8, loc="upper left")
    names = ("start", *METHODS)
    means = [points[name]["reward"] for name in names]
    rewards.bar(
        range(len(names)),
        [number["mean"] for number in means],
        yerr=[number["ci95"] or 0.0 for number in means],
        color=(GREY, *colours.values()),
        capsize=3,
    )
    rewards.axhline(points["best possible"]["reward"]["mean"], color=GREY, ls="--", lw=1)
    rewards.set(
        xticks=range(len(names)),
        xticklabels=("start", "DPO", "MADPO", "DPO at\nMADPO's KL"),
        ylabel="true reward, held-out prompts",
        title=f"beta = {BETA:g}; dashed: best possible",
    )
    for name, marker in (("DPO", "o"), ("MADPO", "s")):
        frontier.plot(
            [point["kl"]["mean"] for point in curves[name]],
            [point["reward"]["mean"] for point in curves[name]],
            marker=marker,
            color=colours[name],
            alpha=0.8,
            label=name,
        )
    frontier.set(xlabel="KL to the reference (nats)", ylabel="true reward, held-out prompts")
    frontier.set_title(f"Every beta from {BETAS[0]:g} to {BETAS[-1]:g}")
    frontier.legend()
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    sizes = (40, 50, 8) if options.quick else (200, 1000, 16)
    betas = (0.5, 2.0) if options.quick else BETAS
    raw: dict[str, list[tuple[float, float]]] = {name: [] for name in ("start", *METHODS, "best possible")}
    sweep: dict[str, list[list[tuple[float, float]]]] = {"DPO": [], "MADPO": []}
    matched, shares, first = [], [], None
    for seed in options.seeds:
        task = Task(seed, *sizes)
        policies = {"DPO": task.dpo(BETA), "MADPO": task.madpo(BETA)}
        control, beta = task.dpo_with_kl(task.evaluate(policies["MADPO"])[1])
        matched.append(beta)
        shares.append(float((task.margins < 0).double().mean()))
        for name, theta in policies.items():
            raw[name].append(task.evaluate(theta))
        raw["DPO at MADPO's KL"].append(task.evaluate(control))
        raw["start"].append(task.evaluate(torch.zeros(FEATURES, dtype=torch.float64)))
        raw["best possible"].append(task.evaluate(1e6 * task.truth))
        sweep["DPO"].append([task.evaluate(task.dpo(beta)) for beta in betas])
        sweep["MADPO"].append([task.evaluate(task.madpo(beta)) for beta in betas])
        first = first or (task, policies)
    points = {
        name: {"reward": summary([reward for reward, _ in values]), "kl": summary([kl for _, kl in values])}
        for name, values in raw.items()
    }
    curves = {
        name: [
            {
                "beta": beta,
                "reward": summary([run[index][0] for run in runs]),
                "kl": summary([run[index][1] for run in runs]),
            }
            for index, beta in enumerate(betas)
        ]
        for name, runs in sweep.items()
    }
    rewards = {name: [reward for reward, _ in values] for name, values in raw.items()}
    task, policies = first
    single_margins = torch.linspace(-9.5, 9.5, 39, dtype=torch.float64)
    single_targets = single_pair_optimum(single_margins)
    within = single_margins.abs() < 7.0
    result = {
        "beta": BETA,
        "results": points,
        "reward_gain_over_dpo_at_equal_beta": summary(
            [ours - theirs for ours, theirs in zip(rewards["MADPO"], rewards["DPO"], strict=True)]
        ),
        "reward_gain_over_dpo_at_equal_kl": summary(
            [ours - theirs for ours, theirs in zip(rewards["MADPO"], rewards["DPO at MADPO's KL"], strict=True)]
        ),
        "beta_of_dpo_at_equal_kl": summary(matched),
        "share_of_pairs_that_the_reward_model_ranks_against_their_label": summary(shares),
        "implicit_margin_by_reward_margin_seed_0": by_margin(task, policies),
        "single_pair_error_to_c_times_h_below_tau": float(
            (single_targets - madpo_coefficient(single_margins) * single_margins)[within].abs().max()
        ),
        "single_pair_distance_to_h_above_tau": float((single_targets - single_margins)[~within].abs().max()),
        "frontier": curves,
    }
    save("madpo", draw(task, policies, (single_margins, single_targets), points, curves), result, options)
    return result


if __name__ == "__main__":
    main()
