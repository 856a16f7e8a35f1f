"""SPPO's two claims: it approaches the Nash policy where no reward fits, and it raises the chosen response.

    python benchmarks/claims/sppo.py

(a) Cyclic game of three responses, eta = 0.3: SPPO trained to convergence on its loss in every iteration, duality gap of the
average policy. Baselines: maximising a Bradley-Terry reward fitted once to all pairs, and iterated DPO, which refits it to
pairs of the current policy (with a matched step, beta = 4 / eta: a logit is about 4 times a win-rate difference; and with
beta = 1). The game has no noise, so it has no seeds.
(b) One labelled pair with similar features, log-linear policy over 50 responses, 10 seeds: change of the log-probability of
the chosen response under SPPO and DPO. Control: DPO stopped when its gap of the log-ratios equals SPPO's.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, minimise, plt, read_options, save, summary
from games import CYCLIC, FIRST, SECOND, START, duality_gap

from alignkit.objectives.preference import dpo_loss, sppo_loss, sppo_response_loss


ETA = 0.3
RESPONSES, FEATURES, SIMILARITY, PAIR_ETA, PAIR_BETA = 50, 20, 0.9, 5.0, 0.2


def sppo_step(policy: torch.Tensor) -> torch.Tensor:
    rates, last = CYCLIC @ policy, policy.log()
    return minimise(lambda logits: policy @ sppo_response_loss(logits.log_softmax(0), last, rates, ETA), last).softmax(
        0
    )


def dpo_step(policy: torch.Tensor, beta: float, weights: torch.Tensor | None = None) -> torch.Tensor:
    """DPO with reference `policy` on all labelled pairs, drawn from `policy` or with the given probabilities."""
    last = policy.log()
    weights = torch.outer(policy, policy) if weights is None else weights
    labels = (weights * CYCLIC).flatten()

    def objective(logits: torch.Tensor) -> torch.Tensor:
        logps = logits.log_softmax(0)
        return labels @ dpo_loss(logps[FIRST], logps[SECOND], last[FIRST], last[SECOND], beta)

    return minimise(objective, last).softmax(0)


def play(step, iterations: int) -> dict[str, list[float]]:
    """Duality gap of the average of all policies so far and of the last one, after every iteration."""
    policy, average = START, torch.zeros_like(START)
    gaps: dict[str, list[float]] = {"average": [], "last": []}
    for iteration in range(iterations):
        average = (iteration * average + policy) / (iteration + 1)
        gaps["average"].append(duality_gap(average))
        gaps["last"].append(duality_gap(policy))
        # A floor, so that the logarithm of a response that has died out stays finite.
        policy = step(policy).clamp(min=1e-12)
        policy = policy / policy.sum()
    return gaps


def play_all(iterations: int) -> dict[str, dict[str, list[float]]]:
    uniform = torch.full((3, 3), 1 / 9, dtype=torch.float64)
    # Fitted once: a DPO step against the uniform policy at beta = 1 is the Bradley-Terry reward itself.
    reward = dpo_step(torch.full((3,), 1 / 3, dtype=torch.float64), 1.0, uniform).log()
    return {
        "SPPO": play(sppo_step, iterations),
        "reward fitted once": play(lambda policy: torch.softmax(policy.log() + ETA * reward, 0), iterations),
        "iterated DPO, matched step": play(lambda policy: dpo_step(policy, 4 / ETA), iterations),
        "iterated DPO, beta 1": play(lambda policy: dpo_step(policy, 1.0), iterations),
    }


def pair_features(seed: int) -> torch.Tensor:
    """Features [RESPONSES, FEATURES]; response 0 is chosen, response 1 rejected, and the two are alike."""
    features = torch.randn(RESPONSES, FEATURES, generator=generator(seed), dtype=torch.float64)
    features[1] = SIMILARITY * features[0] + (1 - SIMILARITY**2) ** 0.5 * features[1]
    return features


def train_pair(features: torch.Tensor, loss_name: str, steps: int, stop_at_gap: float | None = None) -> list[float]:
    """Change of the chosen and of the rejected log-probability after gradient descent on the one pair."""
    theta = torch.zeros(FEATURES, dtype=torch.float64, requires_grad=True)
    start = (features @ theta).log_softmax(0).detach()
    optimizer = torch.optim.Adam([theta], lr=0.01)
    change = torch.zeros(2, dtype=torch.float64)
    for _ in range(steps):
        logps = (features @ theta).log_softmax(0)
        change = (logps - start)[:2].detach()
        if stop_at_gap is not None and change[0] - change[1] >= stop_at_gap:
            break
        pair = (logps[:1], logps[1:2], start[:1], start[1:2])
        loss = dpo_loss(*pair, PAIR_BETA) if loss_name == "DPO" else sppo_loss(*pair, [1.0], [0.0], PAIR_ETA)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    return change.tolist()


def draw(games: dict, pairs: dict) -> plt.Figure:
    figure, (average, last, chosen) = plt.subplots(1, 3, figsize=(14, 4.4))
    for (name, gaps), colour in zip(games.items(), (BLUE, RED, ORANGE, GREEN), strict=True):
        average.plot(range(1, len(gaps["average"]) + 1), gaps["average"], color=colour, label=name)
        last.plot(range(1, len(gaps["last"]) + 1), gaps["last"], color=colour, lw=1, label=name)
    average.set(title="Cyclic game: average policy", ylabel="duality gap", xscale="log")
    last.set(title="Cyclic game: last policy", ylabel="duality gap", xscale="log")
    average.legend(fontsize=8)
    for axis in (average, last):
        axis.set(xlabel="iteration", ylim=(0, 1.05))
    for position, (values, colour) in enumerate(zip(pairs.values(), (BLUE, ORANGE, GREEN), strict=True)):
        points = [change[0] for change in values]
        jitter = torch.linspace(-0.15, 0.15, len(points)) if len(points) > 1 else torch.zeros(1)
        chosen.scatter(position + jitter, points, color=colour, s=22)
        chosen.hlines(sum(points) / len(points), position - 0.3, position + 0.3, color=colour)
    chosen.axhline(0, color=GREY, lw=1)
    chosen.set(
        xticks=range(3),
        xticklabels=("SPPO", "DPO", "DPO stopped\nat SPPO's gap"),
        ylabel="change of the chosen log-probability (nats)",
        title="One pair of similar responses: seeds and mean",
    )
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    iterations, steps = (20, 50) if options.quick else (400, 3000)
    games = play_all(iterations)
    pairs: dict[str, list[list[float]]] = {"SPPO": [], "DPO": [], "DPO stopped at SPPO's gap": []}
    for seed in options.seeds:
        features = pair_features(seed)
        ours = train_pair(features, "SPPO", steps)
        pairs["SPPO"].append(ours)
        pairs["DPO"].append(train_pair(features, "DPO", steps))
        pairs["DPO stopped at SPPO's gap"].append(train_pair(features, "DPO", steps, ours[0] - ours[1]))
    milestones = [index for index in (1, 10, 100, 200, 400) if index <= iterations]
    result = {
        "cyclic_game_duality_gap": {
            name: {which: {str(t): gaps[which][t - 1] for t in milestones} for which in gaps}
            for name, gaps in games.items()
        },
        "one_pair": {
            name: {
                "chosen_log_probability_change": summary([change[0] for change in values]),
                "rejected_log_probability_change": summary([change[1] for change in values]),
                "share_of_seeds_that_raise_the_chosen": sum(change[0] > 0 for change in values) / len(values),
            }
            for name, values in pairs.items()
        },
    }
    save("sppo", draw(games, pairs), result, options)
    return result


if __name__ == "__main__":
    main()
