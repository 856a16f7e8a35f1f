"""CGPO's claim: judges keep a policy from the reward that only constraint violations earn, where a KL penalty does not.

    python benchmarks/claims/cgpo.py

A bandit of 20 actions, the second half of which violates a constraint; the true reward of an action is N(0, 1), that of a
violation counts as 0, and the reward model adds 3 to it. Trained with 64 samples a step from the uniform policy: REINFORCE
with a KL penalty of 0.05 in the reward (the control), and CGPO's CRPG (KL_max 5), CODPO and CRRAFT with a judge that sees
the violations. The baseline answer is a feasible action of median true reward. Also CRPG with a judge that fails on 20 %
of the samples (unknown), and one that is wrong on 20 % of them.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, plt, read_options, save, summary

from alignkit.objectives.advantages import cgpo_advantages
from alignkit.objectives.preference import cgpo_codpo_loss
from alignkit.objectives.sampling import cgpo_codpo_pairs, cgpo_crraft_select


ACTIONS, SAMPLES, GROUP, BONUS, KL_MAX, KL_COEF, RATE = 20, 64, 8, 3.0, 5.0, 0.05, 0.1
NOISE = 0.2
METHODS = {
    "REINFORCE with KL penalty": RED,
    "CRPG": BLUE,
    "CODPO": ORANGE,
    "CRRAFT": GREEN,
    "CRPG, judge fails on 20 %": "#56B4E9",
    "CRPG, judge wrong on 20 %": GREY,
}


class Bandit:
    """True and proxy rewards of the actions, and which of them are feasible."""

    def __init__(self, seed: int) -> None:
        stream = generator(seed)
        rewards = torch.randn(ACTIONS, generator=stream, dtype=torch.float64)
        self.feasible = torch.arange(ACTIONS) < ACTIONS // 2
        self.true = torch.where(self.feasible, rewards, 0.0)
        self.proxy = rewards + BONUS * (~self.feasible)
        self.baseline = rewards[self.feasible].median()

    def verdicts(self, actions: torch.Tensor, name: str, stream: torch.Generator) -> torch.Tensor:
        """[n] 1, 0, or NaN where the judge fails."""
        found = self.feasible[actions].double()
        hit = torch.rand(len(actions), generator=stream) < NOISE
        if name.endswith("fails on 20 %"):
            return found.masked_fill(hit, torch.nan)
        return torch.where(hit, 1 - found, found) if name.endswith("wrong on 20 %") else found


def loss_of(
    name: str, bandit: Bandit, logps: torch.Tensor, ref: torch.Tensor, stream: torch.Generator
) -> torch.Tensor:
    """The loss of one step: `logps` [ACTIONS] of the policy with gradient, `ref` of the reference."""
    actions = torch.multinomial(logps.detach().exp(), SAMPLES, replacement=True, generator=stream)
    own, reference, rewards = logps[actions], ref[actions], bandit.proxy[actions]
    if name.startswith("REINFORCE"):
        shaped = rewards - KL_COEF * (own.detach() - reference)
        return -((shaped - shaped.mean()) * own).mean()
    verdicts = bandit.verdicts(actions, name, stream)
    baselines = bandit.baseline.expand(SAMPLES)
    if name == "CODPO":
        pairs = cgpo_codpo_pairs(rewards, verdicts, GROUP)
        best, worst = pairs.chosen[pairs.valid], pairs.rejected[pairs.valid]
        if not len(best):
            return 0.0 * own.sum()
        lengths = torch.ones(len(best))
        return cgpo_codpo_loss(own[best], own[worst], reference[best], reference[worst], lengths).mean()
    sampled = own.detach()
    if name == "CRRAFT":
        choice = cgpo_crraft_select(rewards, baselines, verdicts, sampled, reference, GROUP, KL_MAX)
        found = choice.index >= 0
        return -(choice.weight[found] * own[choice.index[found]]).sum() / max(int(found.sum()), 1)
    return -(cgpo_advantages(rewards, GROUP, baselines, verdicts, sampled, reference, KL_MAX) * own).mean()


def train(name: str, seed: int, steps: int) -> dict[str, list[float]]:
    """Violation rate and expected true reward of the policy after every step, both exact."""
    bandit, stream = Bandit(seed), generator(1000 + seed)
    logits = torch.zeros(ACTIONS, dtype=torch.float64, requires_grad=True)
    ref = logits.detach().log_softmax(0)
    optimizer = torch.optim.Adam([logits], lr=RATE)
    curves: dict[str, list[float]] = {"violation": [], "true": []}
    for _ in range(steps):
        loss = loss_of(name, bandit, logits.log_softmax(0), ref, stream)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        policy = logits.detach().softmax(0)
        curves["violation"].append(float(policy[~bandit.feasible].sum()))
        curves["true"].append(float(policy @ bandit.true))
    return curves


def draw(curves: dict[str, dict[str, torch.Tensor]]) -> plt.Figure:
    figure, (violation, true) = plt.subplots(1, 2, figsize=(12, 4.4))
    for name, colour in METHODS.items():
        for axis, quantity in ((violation, "violation"), (true, "true")):
            values = curves[name][quantity]
            # Some curves lie on one another.
            style = "--" if name in ("CODPO", "CRPG, judge fails on 20 %") else "-"
            axis.plot(values.mean(dim=0), style, color=colour, label=name)
            if len(values) > 1:
                half = 1.96 * values.std(dim=0) / len(values) ** 0.5
                steps = torch.arange(values.shape[1])
                axis.fill_between(
                    steps, values.mean(dim=0) - half, values.mean(dim=0) + half, color=colour, alpha=0.15, lw=0
                )
    violation.set(
        title="Constraint violations", ylabel="probability of a violation", xlabel="step", ylim=(-0.02, 1.02)
    )
    true.set(title="True reward, 0 for a violation", ylabel="expected true reward", xlabel="step")
    violation.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    steps = 40 if options.quick else 400
    curves = {}
    for name in METHODS:
        runs = [train(name, seed, steps) for seed in options.seeds]
        curves[name] = {key: torch.tensor([run[key] for run in runs]) for key in ("violation", "true")}
    best = [float(bandit.true[bandit.feasible].max()) for bandit in map(Bandit, options.seeds)]
    result = {
        "best_feasible_true_reward": summary(best),
        "after_the_last_step": {
            name: {key: summary(values[:, -1].tolist()) for key, values in of.items()} for name, of in curves.items()
        },
    }
    save("cgpo", draw(curves), result, options)
    return result


if __name__ == "__main__":
    main()
