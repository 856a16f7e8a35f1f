"""CGPO's three optimizers (arXiv 2409.20370), each as the gradient of its loss with respect to the log-probabilities.

An update is exactly on-policy: the policy that is updated is the one that sampled. Each loss depends on it through the
log-probability of each completion alone, so its gradient is a number for each completion times grad log pi, and those
numbers are known once the batch is sampled. Rows can then be shuffled, split and shared out without tearing pairs apart.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ...objectives.advantages import cgpo_advantages
from ...objectives.groups import split_groups
from ...objectives.judgements import join_judges
from ...objectives.preference import cgpo_codpo_loss
from ...objectives.sampling import cgpo_codpo_pairs, cgpo_crraft_select


# Calibrated reward of the baseline answer itself, sigmoid(0).
BASELINE_WEIGHT = 0.5


class TaskBatch(NamedTuple):
    """The n completions of one task in a generation batch of all processes, groups in runs of `num_generations`.

    Attributes:
        rewards, baseline_rewards: [n], NaN where there is none.
        satisfied: [n, M] verdicts of M judges; NaN where one failed.
        logps, ref_logps: [n] summed log-probabilities in nats, under the policy that sampled and the reference.
        lengths: [n] tokens that the loss counts.
        baseline_satisfied: [n, M] verdicts on the baseline answer.
        baseline_lengths: [n] its tokens, 0 where it cannot be trained on.
        num_generations: K.
    """

    rewards: torch.Tensor
    baseline_rewards: torch.Tensor
    satisfied: torch.Tensor
    logps: torch.Tensor
    ref_logps: torch.Tensor
    lengths: torch.Tensor
    baseline_satisfied: torch.Tensor
    baseline_lengths: torch.Tensor
    num_generations: int


class Update(NamedTuple):
    """What one task asks for.

    Attributes:
        weights: [n] minus the derivative of the task's loss by the log-probability of each completion.
        trained: [n / K] bool, the prompts that give a gradient.
        from_baseline: [n] bool, rows whose weight is that of the baseline answer, which takes the completion's place.
        loss: the task's loss at the sampled completions.
    """

    weights: torch.Tensor
    trained: torch.Tensor
    from_baseline: torch.Tensor
    loss: float


def crpg(batch: TaskBatch, config: Any) -> Update:
    """CRPG: \\( -\\sum_k A_k \\log\\pi(y_k) \\) over the tokens of the task's batch (Eq. 12, its 1/n as 1/tokens)."""
    advantages = cgpo_advantages(
        batch.rewards,
        batch.num_generations,
        batch.baseline_rewards,
        batch.satisfied,
        batch.logps,
        batch.ref_logps,
        config.kl_max,
        config.advantage_baseline,
    ).to(batch.logps)
    tokens = batch.lengths.sum().clamp(min=1)
    trained = (split_groups(advantages, batch.num_generations) != 0).any(dim=1)
    none = torch.zeros_like(batch.lengths, dtype=torch.bool)
    return Update(advantages / tokens, trained, none, -(advantages * batch.logps).sum().item() / tokens.item())


def codpo(batch: TaskBatch, config: Any) -> Update:
    """CODPO: `cgpo_codpo_loss`, averaged over the prompts that give a pair."""
    pairs = cgpo_codpo_pairs(batch.rewards, batch.satisfied, batch.num_generations)
    none = torch.zeros_like(batch.lengths, dtype=torch.bool)
    if not pairs.valid.any():
        return Update(torch.zeros_like(batch.logps), pairs.valid, none, 0.0)
    chosen, rejected = pairs.chosen[pairs.valid], pairs.rejected[pairs.valid]
    with torch.enable_grad():
        logps = batch.logps.detach().clone().requires_grad_()
        loss = cgpo_codpo_loss(
            logps[chosen],
            logps[rejected],
            batch.ref_logps[chosen],
            batch.ref_logps[rejected],
            batch.lengths[chosen].clamp(min=1),
            config.codpo_beta,
            config.codpo_lam,
        ).mean()
        (gradient,) = torch.autograd.grad(loss, logps)
    return Update(-gradient, pairs.valid, none, loss.item())


def crraft(batch: TaskBatch, config: Any) -> Update:
    """CRRAFT: \\( -w \\log\\pi(y^*) \\) of each prompt over the tokens of all y* (Eq. 18), y* the best eligible completion.

    A prompt without an eligible completion trains on its baseline answer, with weight 1/2, if that satisfies every judge
    and the task's `fallback` is "baseline"; the answer then stands in the place of the prompt's first completion.
    """
    choice = cgpo_crraft_select(
        batch.rewards,
        batch.baseline_rewards,
        batch.satisfied,
        batch.logps,
        batch.ref_logps,
        batch.num_generations,
        config.kl_max,
    )
    weights, counted = torch.zeros_like(batch.logps), torch.zeros_like(batch.lengths)
    found = choice.index >= 0
    index = choice.index[found]
    weights[index] = choice.weight[found].to(weights)
    counted[index] = batch.lengths[index]
    from_baseline = torch.zeros_like(batch.lengths, dtype=torch.bool)
    if config.fallback == "baseline":
        first = torch.arange(len(found), device=found.device) * batch.num_generations
        good = join_judges(batch.baseline_satisfied, len(batch.lengths)).satisfied & (batch.baseline_lengths > 0)
        first = first[~found & good[first]]
        from_baseline[first] = True
        weights[first] = BASELINE_WEIGHT
        counted[first] = batch.baseline_lengths[first]
    tokens = counted.sum().clamp(min=1)
    trained = split_groups(weights, batch.num_generations).ne(0).any(dim=1)
    # Of the baseline answers the log-probability is not known before the update.
    loss = -torch.where(from_baseline, 0.0, weights * batch.logps).sum().item() / tokens.item()
    return Update(weights / tokens, trained, from_baseline, loss)


UPDATES: dict[str, Callable[[TaskBatch, Any], Update]] = {"crpg": crpg, "codpo": codpo, "crraft": crraft}
