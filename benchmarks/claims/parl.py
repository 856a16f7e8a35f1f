"""PARL/SAIL's claim: policy-dependent pairs beat offline DPO; and what the further gradient terms do to J.

    python benchmarks/claims/parl.py

A log-linear policy over 100 responses with 12 shared features, 60 offline pairs sampled from a poor reference with
Bradley-Terry labels of a linear true reward. Offline DPO; half of each batch sampled from the policy and labelled by the
true reward, without the score term (online DPO) and with it (SAIL-DPR, gamma 0.3); Adam, the same steps. Left: true reward
against KL along the runs. Right (the control of the gradient itself): every pair sampled and judged, and the exact value of
J = E[log sigmoid(beta h)] over all pairs of responses, for several gamma, and with the sign of the score term reversed.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, plt, read_options, save, summary

from alignkit.objectives.preference import parl_loss, parl_score_weights
from alignkit.objectives.sampling import parl_routes


RESPONSES, FEATURES, PAIRS, BATCH, BETA, RATE = 100, 12, 60, 32, 0.1, 0.05
METHODS = {
    "offline DPO": (0.0, 0.0),
    "online half, no score term": (0.5, 0.0),
    "SAIL-DPR half, gamma 0.3": (0.5, 0.3),
}
GAMMAS = (0.0, 0.3, 1.0)


class Task:
    """Features, true reward, poor reference and its labelled pairs; parameters theta, policy softmax(reference + X theta)."""

    def __init__(self, seed: int) -> None:
        stream = self.stream = generator(seed)
        self.features = torch.randn(RESPONSES, FEATURES, generator=stream, dtype=torch.float64)
        direction, other = torch.randn(2, FEATURES, generator=stream, dtype=torch.float64)
        self.reward = self.features @ direction
        # Poor: it leans away from the reward.
        self.reference = (self.features @ (0.5 * other / other.norm() * FEATURES**0.5 - 0.3 * direction)).log_softmax(
            0
        )
        self.first, self.second = self.label(*self.sample(self.reference, PAIRS))

    def logps(self, theta: torch.Tensor) -> torch.Tensor:
        return (self.reference + self.features @ theta).log_softmax(0)

    def sample(self, logps: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`count` independent pairs of responses."""
        return tuple(torch.multinomial(logps.exp(), 2 * count, replacement=True, generator=self.stream).view(2, count))

    def label(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(chosen, rejected) with the labels of Bradley-Terry and the true reward."""
        wins = torch.rand(len(first), generator=self.stream, dtype=torch.float64) < torch.sigmoid(
            self.reward[first] - self.reward[second]
        )
        return torch.where(wins, first, second), torch.where(wins, second, first)

    def batch(self, theta: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(chosen, rejected, route) of a batch in which `share` of the pairs are sampled from the policy and judged."""
        uniform = torch.rand(BATCH, generator=self.stream, dtype=torch.float64)
        route = parl_routes(uniform, 0.0, 0.0, share)
        rows = torch.randint(PAIRS, (BATCH,), generator=self.stream)
        sampled = self.label(*self.sample(self.logps(theta).detach(), BATCH))
        chosen = torch.where(route == 3, sampled[0], self.first[rows])
        return chosen, torch.where(route == 3, sampled[1], self.second[rows]), route

    def measure(self, theta: torch.Tensor) -> dict[str, float]:
        """True reward gained over the reference, KL to it, and J, all exact."""
        with torch.no_grad():
            logps = self.logps(theta)
            probs, ratio = logps.exp(), logps - self.reference
            wins = torch.sigmoid(self.reward[:, None] - self.reward[None, :])
            score = torch.nn.functional.logsigmoid(BETA * (ratio[:, None] - ratio[None, :]))
            both = probs[:, None] * probs[None, :] * 2 * wins * score
            return {
                "gain": float((probs - self.reference.exp()) @ self.reward),
                "kl": float(probs @ ratio),
                "J": float(both.sum()),
            }


def train(seed: int, share: float, gamma: float, steps: int, every: int, reverse: bool = False) -> list[dict]:
    """Measurements along a run."""
    task = Task(seed)
    theta = torch.zeros(FEATURES, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=RATE)
    found = [task.measure(theta)]
    for step in range(1, steps + 1):
        chosen, rejected, route = task.batch(theta, share)
        logps = task.logps(theta)
        four = (logps[chosen], logps[rejected], task.reference[chosen], task.reference[rejected])
        loss = parl_loss(*four, route, BETA, dpr_coef=0.0 if reverse else gamma).mean()
        if reverse:
            weights = parl_score_weights(*four, route, BETA, dpr_coef=gamma)
            loss = loss - (weights * (four[0] + four[1])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % every == 0:
            found.append(task.measure(theta))
    return found


def mean_curve(runs: list[list[dict]], name: str) -> list[float]:
    return [sum(run[place][name] for run in runs) / len(runs) for place in range(len(runs[0]))]


def draw(curves: dict, j_curves: dict, every: int) -> plt.Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.4))
    for (name, runs), colour in zip(curves.items(), (ORANGE, BLUE, GREEN), strict=True):
        left.plot(mean_curve(runs, "kl"), mean_curve(runs, "gain"), marker="o", ms=3, color=colour, label=name)
    left.set(xlabel="KL to the reference (nats)", ylabel="gain of true reward", title="Along the runs, equal steps")
    left.legend(fontsize=8)
    for (name, runs), colour in zip(j_curves.items(), (BLUE, GREEN, RED, GREY), strict=True):
        values = mean_curve(runs, "J")
        right.plot([every * place for place in range(len(values))], values, color=colour, label=name)
    right.set(xlabel="step", ylabel="J (exact)", title="All pairs sampled and judged: what the full gradient raises")
    right.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=12)
    steps, every = (40, 20) if options.quick else (300, 15)
    curves = {
        name: [train(seed, share, gamma, steps, every) for seed in options.seeds]
        for name, (share, gamma) in METHODS.items()
    }
    j_curves = {
        f"gamma {gamma:g}": [train(seed, 1.0, gamma, steps, every) for seed in options.seeds] for gamma in GAMMAS
    }
    j_curves["gamma 1, sign reversed"] = [train(seed, 1.0, 1.0, steps, every, True) for seed in options.seeds]

    def last(runs: list[list[dict]]) -> dict[str, dict]:
        return {name: summary([run[-1][name] for run in runs]) for name in ("gain", "kl", "J")}

    result = {
        "steps": steps,
        "beta": BETA,
        "mixtures": {name: last(runs) for name, runs in curves.items()},
        "lead_of_sail_over_offline_dpo": summary(
            [ours[-1]["gain"] - theirs[-1]["gain"] for theirs, ours in zip(*list(curves.values())[::2], strict=True)]
        ),
        "all_pairs_sampled": {name: last(runs) for name, runs in j_curves.items()},
    }
    save("parl", draw(curves, j_curves, every), result, options)
    return result


if __name__ == "__main__":
    main()
