"""INPO's claim: its last policy converges to the Nash policy of the KL-regularised game, which needs the KL term.

    python benchmarks/claims/inpo.py

Cyclic game of three responses, pi_ref = (0.7, 0.2, 0.1), eta = 1, tau = 1/3; regularised duality gap of the last policy.
First with the expected loss minimised exactly in every iteration (no noise, no seeds), then with pairs sampled from the
current policy, binary labels and Adam on the loss (10 seeds). Ablation: tau = 0 in the loss (the gap keeps tau = 1/3).
Baseline: iterative DPO with reference pi_t and a matched step (beta = 4 eta: a logit is about 4 times a win-rate difference).
"""

import torch
from common import BLUE, ORANGE, RED, generator, minimise, plt, read_options, save, summary
from games import CYCLIC, FIRST, SECOND, START, duality_gap, regularised_gap

from alignkit.objectives.preference import dpo_loss, inpo_loss


ETA, TAU = 1.0, 1 / 3
REFERENCE = START.log()
METHODS = ("INPO", "INPO, tau = 0", "iterative DPO")


def pair_losses(method: str, logps: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Loss [9] of every ordered pair (chosen, rejected) of responses."""
    policy, current = (logps[FIRST], logps[SECOND]), (last[FIRST], last[SECOND])
    if method == "iterative DPO":
        return dpo_loss(*policy, *current, beta=4 * ETA)
    tau = TAU if method == "INPO" else 0.0
    return inpo_loss(*policy, REFERENCE[FIRST], REFERENCE[SECOND], *current, ETA, tau)


def exact_step(method: str, last: torch.Tensor) -> torch.Tensor:
    """Minimise the loss in expectation over pairs drawn from the current policy and their labels."""
    policy = last.exp()
    labels = (torch.outer(policy, policy) * CYCLIC).flatten()
    return minimise(lambda logits: labels @ pair_losses(method, logits.log_softmax(0), last), last).log_softmax(0)


def sampled_step(method: str, last: torch.Tensor, pairs: int, stream: torch.Generator) -> torch.Tensor:
    """Minibatch Adam on `pairs` labelled pairs drawn from the current policy; 4 epochs, decaying learning rate."""
    responses = torch.multinomial(last.exp(), 2 * pairs, replacement=True, generator=stream).reshape(2, pairs)
    wins = torch.rand(pairs, generator=stream, dtype=torch.float64) < CYCLIC[responses[0], responses[1]]
    ordered = torch.where(wins, 3 * responses[0] + responses[1], 3 * responses[1] + responses[0])
    logits = last.clone().requires_grad_()
    batches = [batch for _ in range(4) for batch in ordered[torch.randperm(pairs, generator=stream)].split(256)]
    optimizer = torch.optim.Adam([logits], lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=len(batches))
    for batch in batches:
        optimizer.zero_grad()
        shares = torch.bincount(batch, minlength=9).to(torch.float64) / len(batch)
        (shares @ pair_losses(method, logits.log_softmax(0), last)).backward()
        optimizer.step()
        schedule.step()
    return logits.detach().log_softmax(0)


def play(step, iterations: int) -> dict[str, list[float]]:
    """Regularised and plain duality gap of the last policy, from the reference on."""
    logps = REFERENCE
    gaps: dict[str, list[float]] = {"regularised": [], "plain": []}
    for iteration in range(iterations + 1):
        gaps["regularised"].append(regularised_gap(logps.exp(), START, TAU))
        gaps["plain"].append(duality_gap(logps.exp()))
        if iteration < iterations:
            # A floor, so that a response that has died out can still be sampled and its logarithm is finite.
            logps = step(logps).clamp(min=-25.0).log_softmax(0)
    return gaps


def draw(exact: dict, sampled: dict, pairs: int) -> plt.Figure:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    colours = dict(zip(METHODS, (BLUE, RED, ORANGE), strict=True))
    for method in METHODS:
        gaps = [max(gap, 1e-12) for gap in exact[method]["regularised"]]
        axes[0].plot(range(len(gaps)), gaps, color=colours[method], label=method)
        runs = torch.tensor([run["regularised"] for run in sampled[method]], dtype=torch.float64)
        axes[1].plot(runs.median(0).values, color=colours[method], label=method)
        axes[1].fill_between(
            range(runs.shape[1]), runs.min(0).values, runs.max(0).values, color=colours[method], alpha=0.15
        )
    axes[0].set(title="Exact minimum of the expected loss", ylabel="regularised duality gap of the last policy")
    axes[1].set_title(f"{pairs:,} sampled pairs per iteration: median and range of seeds")
    for axis in axes:
        axis.set(xlabel="iteration", yscale="log")
    axes[0].axhline(1e-3, color="black", lw=0.8, ls=":")
    axes[1].axhline(1e-3, color="black", lw=0.8, ls=":")
    axes[0].legend()
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    exact_iterations, iterations, pairs = (4, 2, 512) if options.quick else (60, 40, 4096)
    exact = {
        method: play(lambda last, method=method: exact_step(method, last), exact_iterations) for method in METHODS
    }
    sampled: dict[str, list[dict[str, list[float]]]] = {method: [] for method in METHODS}
    for seed in options.seeds:
        for method in METHODS:
            stream = generator(seed)
            sampled[method].append(
                play(
                    lambda last, method=method, stream=stream: sampled_step(method, last, pairs, stream),
                    iterations,
                )
            )
    milestones = [t for t in (0, 1, 5, 10, 20, 40, 60) if t <= exact_iterations]
    result = {
        "exact": {
            method: {
                "regularised_gap": {str(t): exact[method]["regularised"][t] for t in milestones},
                "plain_gap": {str(t): exact[method]["plain"][t] for t in milestones},
                "smallest_regularised_gap_of_the_last_20": min(exact[method]["regularised"][-20:]),
            }
            for method in METHODS
        },
        "sampled": {
            method: {
                "regularised_gap_of_the_last_policy": summary([run["regularised"][-1] for run in runs]),
                "plain_gap_of_the_last_policy": summary([run["plain"][-1] for run in runs]),
            }
            for method, runs in sampled.items()
        },
        "pairs_per_iteration": pairs,
    }
    save("inpo", draw(exact, sampled, pairs), result, options)
    return result


if __name__ == "__main__":
    main()
