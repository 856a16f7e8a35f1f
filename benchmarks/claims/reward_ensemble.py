"""The claim of reward-model ensembles: the worst case, or the mean minus the variance, hold off overoptimisation.

    python benchmarks/claims/reward_ensemble.py

(a) Best-of-n with made scores: 40 prompts, 2,000 samples each, gold N(0, 1); 5 % of the responses are exploitable, with gold
lowered by 2 and members that err with a standard deviation of 4 instead of 0.5. Five members; the gold score of what each
objective picks, against n. The baseline is a single member, the mean is the ablation without any penalty.
(b) Trained members: small networks fitted to pairs of which 25 % are labelled wrongly, and the policy that maximises each
objective under a KL penalty, in closed form over a pool of responses; gold score against KL, for many penalties.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from common import BLUE, GREEN, GREY, ORANGE, RED, generator, plt, read_options, save, summary

from alignkit.objectives.rewards import best_of_n, best_of_n_kl, reward_ensemble


MEMBERS, EXPLOITABLE, PENALTY, NOISE = 5, 0.05, 0.5, 0.25
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
FEATURES, HIDDEN, STEPS = 8, 32, 300
OBJECTIVES = {"single": None, "mean": "mean", "wco": "wco", "uwo": "uwo"}
COLOURS = dict(zip(OBJECTIVES, (RED, GREEN, ORANGE, BLUE), strict=True))
PENALTIES = torch.logspace(1.5, -2.5, 33, dtype=torch.float64)


def combine(scores: torch.Tensor, name: str) -> torch.Tensor:
    """Scores [..., MEMBERS] as one number per response; "single" is the first member."""
    objective = OBJECTIVES[name]
    if objective is None:
        return scores[..., 0]
    flat = reward_ensemble(scores.flatten(0, -2), objective, PENALTY)
    return flat.view(scores.shape[:-1])


def made_scores(seed: int, prompts: int, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gold scores [prompts, samples] and those of the members [prompts, samples, MEMBERS]."""
    stream = generator(seed)
    gold = torch.randn(prompts, samples, generator=stream, dtype=torch.float64)
    exploitable = torch.rand(prompts, samples, generator=stream, dtype=torch.float64) < EXPLOITABLE
    gold = gold - 2 * exploitable
    spread = torch.where(exploitable, 4.0, 0.5)[..., None]
    errors = spread * torch.randn(prompts, samples, MEMBERS, generator=stream, dtype=torch.float64)
    return gold, gold[..., None] + errors


def fit_member(pairs: tuple[torch.Tensor, torch.Tensor], seed: int) -> torch.nn.Module:
    """A small network trained on labelled pairs (winner, loser) with the Bradley-Terry loss, from its own start."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            torch.nn.Linear(FEATURES, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, 1)
        ).double()
    stream = generator(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    winners, losers = pairs
    for _ in range(STEPS):
        batch = torch.randint(len(winners), (64,), generator=stream)
        loss = -F.logsigmoid(model(winners[batch]) - model(losers[batch])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def trained_frontier(seed: int, pairs: int, pool: int) -> dict[str, list[tuple[float, float]]]:
    """{objective: [(KL, gold score) for every penalty]} of pi exp(score / penalty) over a pool drawn from pi."""
    stream = generator(10_000 + seed)

    def draw_features(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, FEATURES, generator=stream, dtype=torch.float64)

    direction = draw_features()

    def gold_of(features: torch.Tensor) -> torch.Tensor:
        """Rises along one direction and falls with the distance from the origin, where there are no pairs."""
        return features @ direction / direction.norm() - 0.15 * features.pow(2).sum(-1)

    first, second = draw_features(pairs), draw_features(pairs)
    chance = torch.sigmoid(gold_of(first) - gold_of(second))
    first_wins = torch.rand(pairs, generator=stream, dtype=torch.float64) < chance
    flipped = torch.randperm(pairs, generator=stream)[: round(NOISE * pairs)]
    first_wins[flipped] = ~first_wins[flipped]
    order = first_wins[:, None]
    labelled = (torch.where(order, first, second), torch.where(order, second, first))
    candidates = draw_features(pool)
    with torch.no_grad():
        scores = [fit(candidates).squeeze(-1) for fit in members_of(labelled, seed)]
        scores = torch.stack([(score - score.mean()) / score.std() for score in scores], -1)
    gold = gold_of(candidates)
    curves: dict[str, list[tuple[float, float]]] = {}
    for name in OBJECTIVES:
        score = combine(scores, name)
        logps = (score / PENALTIES[:, None]).log_softmax(-1)
        kl = (logps.exp() * (logps + torch.tensor(pool, dtype=torch.float64).log())).sum(-1)
        curves[name] = list(zip(kl.tolist(), (logps.exp() @ gold).tolist(), strict=True))
    return curves


def members_of(labelled: tuple[torch.Tensor, torch.Tensor], seed: int) -> list[torch.nn.Module]:
    with torch.enable_grad():
        return [fit_member(labelled, 100 * seed + member) for member in range(MEMBERS)]


def at_kl(curve: list[tuple[float, float]], kl: float) -> float:
    """Gold score at a KL, by linear interpolation; the last one beyond the end."""
    for (low, before), (high, after) in itertools.pairwise(curve):
        if low <= kl <= high:
            return before + (after - before) * (kl - low) / (high - low) if high > low else before
    return curve[-1][1]


def draw(best: dict, proxies: dict, sizes: tuple, frontier: dict, grid: list[float]) -> plt.Figure:
    figure, (gold_axis, proxy_axis, trained) = plt.subplots(1, 3, figsize=(14, 4.4))
    kls = [best_of_n_kl(size) for size in sizes]
    for name, colour in COLOURS.items():
        values = best[name]
        gold_axis.errorbar(
            kls,
            [value["mean"] for value in values],
            [value["ci95"] or 0.0 for value in values],
            marker="o",
            ms=3,
            capsize=2,
            color=colour,
            label=name,
        )
        proxy_axis.plot(kls, [value["mean"] for value in proxies[name]], "o-", ms=3, color=colour, label=name)
        points = frontier[name]
        means = torch.tensor([point["mean"] for point in points])
        spread = torch.tensor([point["ci95"] or 0.0 for point in points])
        trained.plot(grid, means, color=colour, label=name)
        trained.fill_between(grid, means - spread, means + spread, color=colour, alpha=0.15, lw=0)
    gold_axis.set(title="Made scores: best-of-n by gold", ylabel="gold score of the picked response")
    proxy_axis.set(title="The same by the score that picks", ylabel="score of the picked response")
    trained.set(title="Trained members, 25 % wrong labels", ylabel="expected gold score")
    gold_axis.axhline(0, color=GREY, lw=1)
    for axis in (gold_axis, proxy_axis, trained):
        axis.set_xlabel("KL to the start (nats)")
    gold_axis.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    prompts, samples, pairs, pool = (8, 128, 100, 300) if options.quick else (40, 2000, 400, 20_000)
    sizes = tuple(size for size in SIZES if size <= samples)
    gold: dict[str, list[list[float]]] = {name: [] for name in OBJECTIVES}
    proxy: dict[str, list[list[float]]] = {name: [] for name in OBJECTIVES}
    frontiers = []
    for seed in options.seeds:
        truth, scores = made_scores(seed, prompts, samples)
        for name in OBJECTIVES:
            picks = [best_of_n(combine(scores, name), truth, size) for size in sizes]
            gold[name].append([float(pick.gold.mean()) for pick in picks])
            proxy[name].append([float(pick.proxy.mean()) for pick in picks])
        frontiers.append(trained_frontier(seed, pairs, pool))
    # Near log(pool) the policy is one response of the pool: not an optimum any more.
    end = 0.7 * math.log(pool)
    grid = [end * step / 24 for step in range(1, 25)]
    trained = {
        name: [summary([at_kl(frontier[name], kl) for frontier in frontiers]) for kl in grid] for name in OBJECTIVES
    }
    best, proxies = (
        {name: [summary(list(values)) for values in zip(*runs, strict=True)] for name, runs in table.items()}
        for table in (gold, proxy)
    )
    result = {
        "members": MEMBERS,
        "penalty": PENALTY,
        "best_of_n_gold": {name: dict(zip(map(str, sizes), values, strict=True)) for name, values in best.items()},
        "trained_members": {
            "kl": grid,
            "gold": trained,
            "gold_at_the_largest_kl_minus_the_best_on_the_way": {
                name: trained[name][-1]["mean"] - max(point["mean"] for point in trained[name]) for name in OBJECTIVES
            },
        },
    }
    save("reward_ensemble", draw(best, proxies, sizes, trained, grid), result, options)
    return result


if __name__ == "__main__":
    main()
