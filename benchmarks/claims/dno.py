"""DNO's claim: large-margin pairs among the policy's own responses and a teacher's carry it past the teacher.

    python benchmarks/claims/dno.py

Twelve responses, preferences that are Bradley-Terry plus an intransitive part, the fourth best response as the teacher, a
binary judge. DNO-Prct (five samples and the teacher, win rates, pairs with a gap above 0.4, replay) against a SPIN-like
rule (the teacher is always chosen). Control: best against worst of the same six responses, the plain rule of iterative DPO.
All train with the same loss, steps and samples. Last picture: the exact soft-label DNO, whose gain over the policy before
has the bound 1/2 + eta KL.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, minimise, plt, read_options, save, summary

from alignkit.objectives.preference import dno_loss, dno_prct_loss
from alignkit.objectives.rewards import dno_win_rates
from alignkit.objectives.sampling import best_worst_pair, dno_pair_mask, dno_replay_counts


RESPONSES, SAMPLES, GROUPS, ITERATIONS, TEACHER_RANK = 12, 5, 200, 8, 3
ETA, GAP, RATE, GRADIENT_STEPS, EXACT_ETA = 0.3, 0.4, 0.05, 30, 0.5
RULES = ("DNO-Prct", "teacher always chosen", "best against worst")
Pairs = tuple[torch.Tensor, torch.Tensor]


class Game:
    """P(i beats j), the teacher and the start policy, which is mostly on the worse responses."""

    def __init__(self, seed: int) -> None:
        stream = generator(seed)
        strength = torch.randn(RESPONSES, generator=stream, dtype=torch.float64).sort(descending=True).values
        noise = torch.randn(RESPONSES, RESPONSES, generator=stream, dtype=torch.float64)
        self.preference = torch.sigmoid(strength[:, None] - strength[None] + 0.5 * (noise - noise.T))
        rates = dno_win_rates(self.preference[None])[0]
        self.teacher = int(rates.argsort(descending=True)[TEACHER_RANK])
        self.start = (-0.5 * rates / rates.std()).log_softmax(0)

    def beats(self, policy: torch.Tensor, other: torch.Tensor) -> float:
        """Probability that a response of one policy beats one of the other; both as probabilities."""
        return float(policy @ self.preference @ other)

    def against_teacher(self, logits: torch.Tensor) -> float:
        return self.beats(logits.softmax(0), torch.eye(RESPONSES, dtype=torch.float64)[self.teacher])

    def sample(self, logits: torch.Tensor, groups: int, stream: torch.Generator) -> Pairs:
        """Groups of samples with the teacher last, and the judge's verdicts on every two of a group, 0 or 1."""
        shape = (groups, SAMPLES)
        own = torch.multinomial(logits.softmax(0), groups * SAMPLES, replacement=True, generator=stream).view(shape)
        group = torch.cat([own, torch.full((groups, 1), self.teacher)], 1)
        chance = self.preference[group[:, :, None], group[:, None, :]]
        wins = (torch.rand(chance.shape, generator=stream, dtype=torch.float64) < chance).double().triu(1)
        return group, wins + (1 - wins).triu(1).mT


def make_pairs(rule: str, group: torch.Tensor, verdicts: torch.Tensor) -> Pairs:
    """Chosen and rejected responses of one rule."""
    is_teacher = torch.arange(group.shape[1]) == group.shape[1] - 1
    rates = dno_win_rates(verdicts)
    if rule == "DNO-Prct":
        mask = dno_pair_mask(rates, is_teacher.expand_as(group), min_positive=0.5, margin=GAP, student_margin=GAP)
        n, i, j = mask.nonzero(as_tuple=True)
        chosen, rejected = group[n, i], group[n, j]
    elif rule == "best against worst":
        pairs = best_worst_pair(rates)
        n = pairs.valid.nonzero().flatten()
        chosen, rejected = group[n, pairs.chosen[n]], group[n, pairs.rejected[n]]
    else:
        chosen, rejected = group[:, -1:].expand(-1, SAMPLES).flatten(), group[:, :-1].flatten()
    different = chosen != rejected
    return chosen[different], rejected[different]


def train(logits: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """DNO-Prct's loss on the pairs, reference and start the policy itself."""
    chosen, rejected = pairs
    reference, theta = logits.log_softmax(0), logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=RATE)
    for _ in range(GRADIENT_STEPS):
        logps = theta.log_softmax(0)
        loss = dno_prct_loss(logps[chosen], logps[rejected], reference[chosen], reference[rejected], ETA).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return theta.detach()


def play(game: Game, rule: str, iterations: int, groups: int, seed: int) -> dict[str, list[float]]:
    """Win rate against the teacher after every iteration, and against the policy before."""
    logits, stream = game.start, generator(seed)
    history: list[Pairs] = []
    curves = {"teacher": [game.against_teacher(logits)], "previous": []}
    for _ in range(iterations):
        fresh = make_pairs(rule, *game.sample(logits, groups, stream))
        parts = [fresh]
        if rule == "DNO-Prct":
            counts = dno_replay_counts(torch.tensor([len(old[0]) for old in history]))
            for (chosen, rejected), count in zip(history, counts.tolist(), strict=True):
                picked = torch.randperm(len(chosen), generator=stream)[:count]
                parts.append((chosen[picked], rejected[picked]))
        history.insert(0, fresh)
        pairs = (torch.cat([chosen for chosen, _ in parts]), torch.cat([rejected for _, rejected in parts]))
        new = train(logits, pairs)
        curves["previous"].append(game.beats(new.softmax(0), logits.softmax(0)))
        curves["teacher"].append(game.against_teacher(new))
        logits = new
    return curves


def exact_gains(game: Game, iterations: int) -> list[tuple[float, float]]:
    """(P(new beats old), 1/2 + eta KL(new, old)) of the soft-label DNO trained to convergence in every iteration."""
    logps, gains = game.start, []
    first, second = (index.flatten() for index in torch.meshgrid(*[torch.arange(RESPONSES)] * 2, indexing="ij"))
    for _ in range(iterations):
        policy = logps.exp()
        rates, last = game.preference @ policy, logps
        weights = torch.outer(policy, policy).flatten()

        def objective(logits: torch.Tensor, last=last, rates=rates, weights=weights) -> torch.Tensor:
            new = logits.log_softmax(0)
            return weights @ dno_loss(
                new[first], new[second], last[first], last[second], rates[first], rates[second], EXACT_ETA
            )

        new = minimise(objective, last).log_softmax(0)
        kl = float(new.exp() @ (new - last))
        gains.append((game.beats(new.exp(), policy), 0.5 + EXACT_ETA * kl))
        logps = new
    return gains


def draw(curves: dict, gains: list[list[tuple[float, float]]]) -> plt.Figure:
    figure, (teacher, previous, exact) = plt.subplots(1, 3, figsize=(14, 4.4))
    for rule, colour in zip(RULES, (BLUE, RED, GREEN), strict=True):
        for axis, name, first in ((teacher, "teacher", 0), (previous, "previous", 1)):
            values = curves[rule][name]
            axis.errorbar(
                range(first, first + len(values)),
                [value["mean"] for value in values],
                [value["ci95"] or 0.0 for value in values],
                marker="o",
                ms=4,
                capsize=2,
                color=colour,
                label=rule,
            )
    teacher.set(xlabel="iteration", ylabel="win rate against the teacher", title="The policy against the teacher")
    previous.set(xlabel="iteration", ylabel="P(new beats old)", title="The policy against the one before")
    for axis in (teacher, previous):
        axis.axhline(0.5, color=GREY, lw=1)
    teacher.legend(fontsize=8)
    points = [point for run in gains for point in run]
    exact.scatter([bound for _, bound in points], [gain for gain, _ in points], s=14, color=ORANGE)
    ends = (0.5, max(gain for gain, _ in points))
    exact.plot(ends, ends, color=GREY, lw=1)
    exact.set(
        xlabel="1/2 + eta KL(new, old)", ylabel="P(new beats old)", title="Exact soft-label DNO: on or above the line"
    )
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    iterations, groups = (2, 20) if options.quick else (ITERATIONS, GROUPS)
    games = [Game(seed) for seed in options.seeds]
    runs = {
        rule: [play(game, rule, iterations, groups, seed) for game, seed in zip(games, options.seeds, strict=True)]
        for rule in RULES
    }
    curves = {
        rule: {
            name: [summary(list(values)) for values in zip(*(run[name] for run in runs[rule]), strict=True)]
            for name in ("teacher", "previous")
        }
        for rule in RULES
    }
    gains = [exact_gains(game, iterations) for game in games]
    final = {rule: [run["teacher"][-1] for run in runs[rule]] for rule in RULES}
    result = {
        "iterations": iterations,
        "win_rates": curves,
        "final_win_rate_of_dno_minus": {
            rule: summary([ours - theirs for ours, theirs in zip(final["DNO-Prct"], final[rule], strict=True)])
            for rule in RULES[1:]
        },
        "smallest_gain_over_the_bound_of_exact_dno": min(gain - bound for run in gains for gain, bound in run),
        "lowest_win_rate_of_dno_prct_over_the_policy_before": min(
            value for run in runs["DNO-Prct"] for value in run["previous"]
        ),
    }
    save("dno", draw(curves, gains), result, options)
    return result


if __name__ == "__main__":
    main()
