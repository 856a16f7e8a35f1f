"""MODPO's claim: one DPO-like loss reaches the optimum of multi-objective RLHF, for every weighting.

    python benchmarks/claims/modpo.py

Twelve responses, a uniform SFT policy, two anti-correlated rewards, beta = 0.5, a tabular policy trained to convergence.
Exact Bradley-Terry pairs first, then sampled pairs with the official recipe (the margin is the implicit reward of a DPO
model trained on the other objective's pairs). The optimum is known: pi_sft exp(w . r / beta).
Baseline: the weighted sum of the two DPO losses. Control: the same with its beta tuned for the objective, an advantage
that MODPO is not given.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, generator, minimise, plt, read_options, save, summary

from alignkit.objectives.preference import dpo_loss, modpo_loss


ACTIONS, BETA, CORRELATION = 12, 0.5, -0.7
WEIGHTS = (0.1, 0.3, 0.5, 0.7, 0.9)
FIRST, SECOND = torch.triu_indices(ACTIONS, ACTIONS, offset=1)
CHOSEN, REJECTED = torch.cat([FIRST, SECOND]), torch.cat([SECOND, FIRST])
REFERENCE = torch.zeros(ACTIONS, dtype=torch.float64).log_softmax(0)
METHODS = ("MODPO", "loss weighting", "loss weighting, tuned beta")


def draw_rewards(seed: int) -> torch.Tensor:
    """Two rewards for each response, [2, ACTIONS], with a negative correlation."""
    noise = torch.randn(2, ACTIONS, generator=generator(seed), dtype=torch.float64)
    return torch.stack([noise[0], CORRELATION * noise[0] + (1 - CORRELATION**2) ** 0.5 * noise[1]])


def exact_labels(reward: torch.Tensor) -> torch.Tensor:
    """Share of every ordered pair (chosen, rejected) among infinitely many Bradley-Terry labels."""
    return torch.sigmoid(reward[CHOSEN] - reward[REJECTED]) / len(FIRST)


def sampled_labels(reward: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """The same share among `count` labelled pairs."""
    drawn = torch.multinomial(exact_labels(reward), count, replacement=True, generator=generator(seed))
    return torch.bincount(drawn, minlength=len(CHOSEN)).to(torch.float64) / count


def pair_logps(logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
    logps = logits.log_softmax(0)
    return logps[CHOSEN], logps[REJECTED], REFERENCE[CHOSEN], REFERENCE[REJECTED]


def train_dpo(labels: torch.Tensor, beta: float) -> torch.Tensor:
    return minimise(lambda logits: labels @ dpo_loss(*pair_logps(logits), beta), REFERENCE).log_softmax(0)


def train_modpo(labels: torch.Tensor, margin: torch.Tensor, weights: tuple[float, float]) -> torch.Tensor:
    columns = (margin[CHOSEN, None], margin[REJECTED, None])
    return minimise(
        lambda logits: labels @ modpo_loss(*pair_logps(logits), *columns, weights, BETA), REFERENCE
    ).log_softmax(0)


def train_loss_weighting(labels: list[torch.Tensor], weights: tuple[float, float], beta: float) -> torch.Tensor:
    mixture = weights[0] * labels[0] + weights[1] * labels[1]
    return train_dpo(mixture, beta)


def value(policy: torch.Tensor, reward: torch.Tensor) -> float:
    """J = E[w . r] - beta KL(policy || SFT), what multi-objective RLHF maximises."""
    return float(policy.exp() @ (reward - BETA * (policy - REFERENCE)))


def measure(policy: torch.Tensor, rewards: torch.Tensor, weights: tuple[float, float]) -> dict[str, float]:
    reward = torch.tensor(weights, dtype=torch.float64) @ rewards
    optimum = (REFERENCE + reward / BETA).log_softmax(0)
    return {
        "total_variation": float(0.5 * (policy.exp() - optimum.exp()).abs().sum()),
        "regret": value(optimum, reward) - value(policy, reward),
        "reward_1": float(policy.exp() @ rewards[0]),
        "reward_2": float(policy.exp() @ rewards[1]),
    }


def run(rewards: torch.Tensor, labels: list[torch.Tensor], margin: torch.Tensor, betas: list[float]) -> dict:
    """All methods at all weights on one data set; `margin` is the second objective's reward as MODPO sees it."""
    result: dict = {method: [] for method in METHODS}
    for weight in WEIGHTS:
        weights = (weight, 1 - weight)
        reward = torch.tensor(weights, dtype=torch.float64) @ rewards
        tuned = max((train_loss_weighting(labels, weights, beta) for beta in betas), key=lambda p: value(p, reward))
        policies = (
            train_modpo(labels[0], margin, weights),
            train_loss_weighting(labels, weights, BETA),
            tuned,
        )
        for method, policy in zip(METHODS, policies, strict=True):
            result[method].append(measure(policy, rewards, weights))
    return result


def aggregate(runs: list[dict]) -> dict:
    return {
        method: {
            str(weight): {name: summary([run[method][index][name] for run in runs]) for name in runs[0][method][index]}
            for index, weight in enumerate(WEIGHTS)
        }
        for method in METHODS
    }


def draw(rewards: torch.Tensor, first: dict, exact: dict, sampled: dict, pairs: int) -> plt.Figure:
    figure, (front, distance, regret) = plt.subplots(1, 3, figsize=(14, 4.4))
    colours = dict(zip(METHODS, (BLUE, ORANGE, GREEN), strict=True))
    grid = torch.linspace(0, 1, 101, dtype=torch.float64)
    ideal = [(REFERENCE + (w * rewards[0] + (1 - w) * rewards[1]) / BETA).softmax(0) for w in grid]
    front.plot([p @ rewards[0] for p in ideal], [p @ rewards[1] for p in ideal], color=GREY, lw=1, label="closed form")
    markers = dict(zip(METHODS, "os^", strict=True))
    for method in METHODS:
        points = first[method]
        front.scatter(
            [point["reward_1"] for point in points],
            [point["reward_2"] for point in points],
            color=colours[method],
            marker=markers[method],
            label=method,
            zorder=3,
        )
    front.set(xlabel="expected reward 1", ylabel="expected reward 2", title="Exact pairs, first seed, five weights")
    front.legend()
    for shift, method in zip((-0.012, 0, 0.012), METHODS, strict=True):
        style = {"color": colours[method], "marker": markers[method]}
        means = [exact[method][str(weight)]["total_variation"]["mean"] for weight in WEIGHTS]
        distance.plot(WEIGHTS, means, label=method, **style)
        regrets = [sampled[method][str(weight)]["regret"] for weight in WEIGHTS]
        regret.errorbar(
            [weight + shift for weight in WEIGHTS],
            [number["mean"] for number in regrets],
            [number["ci95"] or 0.0 for number in regrets],
            capsize=2,
            label=method,
            **style,
        )
    distance.set(yscale="log", ylabel="total variation to the closed form", title="Exact pairs, mean over seeds")
    regret.set(ylabel="J of the closed form minus J", title=f"{pairs:,} sampled pairs, mean and 95 % interval")
    regret.set_ylim(bottom=0)
    for axis in (distance, regret):
        axis.set(xlabel="weight of objective 1", xticks=WEIGHTS)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    pairs = 500 if options.quick else 5000
    betas = [BETA * factor for factor in ((0.5, 1.0) if options.quick else (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0))]
    exact_runs, sampled_runs, swaps = [], [], []
    for seed in options.seeds:
        rewards = draw_rewards(seed)
        labels = [exact_labels(reward) for reward in rewards]
        exact_runs.append(run(rewards, labels, rewards[1], betas))
        swapped = train_modpo(labels[1], rewards[0], (0.7, 0.3))
        swaps.append(measure(swapped, rewards, (0.3, 0.7))["total_variation"])
        drawn = [sampled_labels(reward, pairs, 1000 * seed + index) for index, reward in enumerate(rewards)]
        # The official margin: the implicit reward of a DPO model of the other objective, same beta.
        implicit = BETA * (train_dpo(drawn[1], BETA) - REFERENCE)
        sampled_runs.append(run(rewards, drawn, implicit, betas))
    exact, sampled = aggregate(exact_runs), aggregate(sampled_runs)
    result = {
        "exact_pairs": exact,
        "sampled_pairs": sampled,
        "number_of_sampled_pairs": pairs,
        "total_variation_with_the_pairs_of_the_other_objective": summary(swaps),
    }
    save("modpo", draw(draw_rewards(0), exact_runs[0], exact, sampled, pairs), result, options)
    return result


if __name__ == "__main__":
    main()
