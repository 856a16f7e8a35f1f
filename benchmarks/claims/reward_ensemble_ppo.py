"""The claim of reward-model ensembles under PPO: worst case and mean minus variance hold off overoptimisation.

    python benchmarks/claims/reward_ensemble_ppo.py

The made scores of `reward_ensemble.py` (5 % of the responses exploitable, five members) for a policy that is trained: a
softmax over 512 responses for each of 16 prompts, from the uniform one, 256 samples for each prompt and step, PPO's clipped
loss, four epochs, a small KL to the start in the reward. Gold score and the score that is optimised, both expected and
exact, against the exact KL. The baseline is a single member, the mean is the ablation without any penalty.
"""

import torch
from common import GREY, generator, plt, read_options, save, summary
from reward_ensemble import COLOURS, OBJECTIVES, at_kl, combine, made_scores

from alignkit.objectives.policy import ppo_loss
from alignkit.objectives.rewards import kl_shaped_rewards


EPOCHS, KL_COEF, RATE = 4, 0.02, 0.1
Curve = list[tuple[float, float, float]]  # KL, gold score, optimised score


def train(gold: torch.Tensor, proxy: torch.Tensor, seed: int, steps: int, samples: int) -> Curve:
    """PPO on `proxy` [prompts, responses]; what the policy is worth after every step."""
    stream = generator(seed)
    logits = torch.zeros_like(gold, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=RATE)
    start = -torch.tensor(float(gold.shape[1]), dtype=gold.dtype).log()
    curve = []
    for _ in range(steps):
        with torch.no_grad():
            logps = logits.log_softmax(-1)
            policy = logps.exp()
            curve.append(tuple(float((policy * value).sum(-1).mean()) for value in (logps - start, gold, proxy)))
            picks = torch.multinomial(policy, samples, replacement=True, generator=stream)
            old = logps.gather(1, picks)
            one = old.reshape(-1, 1)
            shaped = kl_shaped_rewards(
                proxy.gather(1, picks).flatten(), one, start.expand_as(one), torch.ones_like(one).bool(), KL_COEF
            ).view_as(old)
            advantages = shaped - shaped.mean(1, keepdim=True)
            advantages = advantages / advantages.std()
        for _ in range(EPOCHS):
            now = logits.log_softmax(-1).gather(1, picks)
            loss = ppo_loss(now, old, advantages, torch.ones_like(now).bool()).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return curve


def draw(grid: list[float], gold: dict, proxy: dict) -> plt.Figure:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2))
    for axis, table, title in zip(axes, (gold, proxy), ("by gold", "by the score that is optimised"), strict=True):
        for name, colour in COLOURS.items():
            means = torch.tensor([value["mean"] for value in table[name]])
            spread = torch.tensor([value["ci95"] or 0.0 for value in table[name]])
            axis.plot(grid, means, color=colour, label=name)
            axis.fill_between(grid, means - spread, means + spread, color=colour, alpha=0.15, lw=0)
        axis.axhline(0, color=GREY, lw=1)
        axis.set(title=f"PPO on made scores, {title}", xlabel="KL to the start (nats)", ylabel="expected score")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    return figure


def main(argv: list[str] | None = None) -> dict:
    options = read_options(__doc__, argv, seeds=10)
    prompts, responses, samples, steps = (4, 128, 64, 30) if options.quick else (16, 512, 256, 200)
    curves: dict[str, list[Curve]] = {name: [] for name in OBJECTIVES}
    for seed in options.seeds:
        gold, scores = made_scores(seed, prompts, responses)
        for name in OBJECTIVES:
            curves[name].append(train(gold, combine(scores, name), seed, steps, samples))
    end = min(curve[-1][0] for runs in curves.values() for curve in runs)
    grid = [end * step / 24 for step in range(25)]
    gold_at, proxy_at = (
        {
            name: [summary([at_kl([(point[0], point[column]) for point in run], kl) for run in runs]) for kl in grid]
            for name, runs in curves.items()
        }
        for column in (1, 2)
    )
    result = {
        "kl": grid,
        "gold": gold_at,
        "optimised": proxy_at,
        "gold_at_the_end_minus_the_best_on_the_way": {
            name: values[-1]["mean"] - max(value["mean"] for value in values) for name, values in gold_at.items()
        },
    }
    save("reward_ensemble_ppo", draw(grid, gold_at, proxy_at), result, options)
    return result


if __name__ == "__main__":
    main()
