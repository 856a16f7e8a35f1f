"""Asymmetric Policy Optimization's two claims: DADS frees the hard prompts, STCR shortens the wrong answers.

    python benchmarks/claims/apo_asymmetric.py

DADS: softmax over 8 answers, 8 prompts of pass rate 1/8 and 8 of 7/8, reference = start, beta 1, G = 8, on-policy Adam.
Pass rate of the hard prompts and exact KL to the reference of the easy ones, against KL weights of 1. Control: weights of 1
at every beta, which tells whether the weights do more than a smaller beta would, and from which beta on they are felt.
STCR: answers are right (20 tokens), wrong and short (20) or wrong and long (200): mean length of the wrong ones, for the
released base c = 1.00001, for 1.01, and without.
"""

import torch
from common import BLUE, GREEN, GREY, ORANGE, generator, plt, read_options, save, summary

from alignkit.objectives.advantages import apo_asymmetric_advantages, apo_asymmetric_kl_weights
from alignkit.objectives.policy import apo_asymmetric_loss


ANSWERS, GENERATIONS, EACH, RIGHT, LR, BETA = 8, 8, 8, 0, 0.05, 1.0
BETAS = (0.1, 0.3, 1.0, 2.0)
# Right, wrong and short, wrong and long.
LENGTHS = torch.tensor([20.0, 20.0, 200.0], dtype=torch.float64)
BASES = {"c = 1.01": 1.01, "c = 1.00001 (released)": 1.00001, "off": 1.0}


def step(logits, optimizer, stream, lengths, base, beta, reference, weighted) -> None:
    """One on-policy update on single-token completions."""
    logps = logits.log_softmax(-1)
    answers = torch.multinomial(logps.detach().exp(), GENERATIONS, replacement=True, generator=stream)
    rewards = (answers == RIGHT).double().flatten()
    sizes = lengths[answers].flatten()
    advantages = apo_asymmetric_advantages(rewards, GENERATIONS, sizes, stcr_base=base)
    weights = apo_asymmetric_kl_weights(rewards, GENERATIONS) if weighted else torch.ones_like(rewards)
    chosen, held = (values.gather(1, answers).flatten()[:, None] for values in (logps, reference))
    mask = torch.ones_like(chosen)
    loss = apo_asymmetric_loss(chosen, None, advantages, mask, held, weights, beta).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def run_dads(seed: int, steps: int, beta: float, weighted: bool) -> dict[str, list[float]]:
    """Pass rate of the hard prompts and KL (nats) of the easy ones after every step."""
    start = torch.zeros(2 * EACH, ANSWERS, dtype=torch.float64)
    # Of 8 answers the right one has probability 7/8 with a logit of log(49); with 0 it has 1/8.
    start[EACH:, RIGHT] = torch.tensor(49.0, dtype=torch.float64).log()
    reference, logits = start.log_softmax(-1), start.clone().requires_grad_()
    optimizer, stream = torch.optim.Adam([logits], lr=LR), generator(seed)
    curves: dict[str, list[float]] = {"hard_pass_rate": [], "easy_kl": []}
    for _ in range(steps):
        step(logits, optimizer, stream, torch.ones(ANSWERS, dtype=torch.float64), 1.0, beta, reference, weighted)
        logps = logits.detach().log_softmax(-1)
        curves["hard_pass_rate"].append(float(logps[:EACH, RIGHT].exp().mean()))
        curves["easy_kl"].append(float((logps.exp() * (logps - reference)).sum(-1)[EACH:].mean()))
    return curves


def run_stcr(seed: int, steps: int, base: float) -> list[float]:
    """Mean length of the wrong answers in tokens after every step."""
    logits = torch.zeros(2 * EACH, 3, dtype=torch.float64, requires_grad=True)
    reference = logits.detach().log_softmax(-1)
    optimizer, stream = torch.optim.Adam([logits], lr=LR), generator(seed)
    lengths = []
    for _ in range(steps):
        step(logits, optimizer, stream, LENGTHS, base, 0.0, reference, False)
        wrong = logits.detach().softmax(-1)[:, 1:]
        lengths.append(float((wrong * LENGTHS[1:]).sum(-1).div(wrong.sum(-1)).mean()))
    return lengths


def mean(runs: list[list[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*runs, strict=True)]


def draw(dads: dict, sweep: dict, stcr: dict) -> plt.Figure:
    figure, (rise, frontier, lengths) = plt.subplots(1, 3, figsize=(14, 4.4))
    colours = {"DADS": BLUE, "uniform": ORANGE}
    for name, runs in dads.items():
        rise.plot(mean([run["hard_pass_rate"] for run in runs]), color=colours[name], label=f"{name}, hard pass rate")
        rise.plot(mean([run["easy_kl"] for run in runs]), color=colours[name], ls="--", label=f"{name}, easy KL")
    rise.set(xlabel="step", ylabel="pass rate; KL in nats", title=f"DADS at beta {BETA:g}")
    for name, points in sweep.items():
        pairs = [(point["easy_kl"]["mean"], point["hard_pass_rate"]["mean"]) for point in points]
        frontier.plot(*zip(*pairs, strict=True), "o-", color=colours[name], label=name)
        for point, pair in zip(points, pairs, strict=True):
            frontier.annotate(f"{point['beta']:g}", pair, textcoords="offset points", xytext=(4, -10), fontsize=7)
    frontier.set(xlabel="KL of the easy prompts (nats)", ylabel="pass rate of the hard prompts")
    frontier.set(title="Half way, at every beta")
    for (name, runs), colour in zip(stcr.items(), (BLUE, GREEN, GREY), strict=True):
        lengths.plot(mean(runs), color=colour, ls="--" if name == "off" else "-", label=name)
    lengths.set(xlabel="step", ylabel="mean length of wrong answers (tokens)", title="STCR")
    for axis in (rise, frontier, lengths):
        axis.legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=20)
    steps = 20 if options.quick else 120
    half = steps // 2
    kinds = {"DADS": True, "uniform": False}
    runs = {
        (name, beta): [run_dads(seed, steps, beta, weighted) for seed in options.seeds]
        for name, weighted in kinds.items()
        for beta in BETAS
    }
    dads = {name: runs[name, BETA] for name in kinds}
    sweep = {
        name: [
            {"beta": beta}
            | {
                quantity: summary([run[quantity][half - 1] for run in runs[name, beta]])
                for quantity in ("hard_pass_rate", "easy_kl")
            }
            for beta in BETAS
        ]
        for name in kinds
    }
    stcr = {name: [run_stcr(seed, steps, base) for seed in options.seeds] for name, base in BASES.items()}
    result = {
        "dads": {
            name: {
                "hard_pass_rate_half_way": summary([run["hard_pass_rate"][half - 1] for run in found]),
                "hard_pass_rate_at_the_end": summary([run["hard_pass_rate"][-1] for run in found]),
                "easy_kl_at_the_end": summary([run["easy_kl"][-1] for run in found]),
            }
            for name, found in dads.items()
        },
        "dads_half_way_by_beta": sweep,
        "stcr_mean_wrong_length": {
            name: {
                "half_way": summary([run[half - 1] for run in found]),
                "at_the_end": summary([run[-1] for run in found]),
            }
            for name, found in stcr.items()
        },
    }
    save("apo_asymmetric", draw(dads, sweep, stcr), result, options)
    return result


if __name__ == "__main__":
    main()
