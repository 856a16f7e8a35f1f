"""CGPO's choices among the completions of a prompt (arXiv 2409.20370): a pair for CODPO, the best one for CRRAFT."""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, require_same_shape
from ..groups import as_rewards, split_groups
from ..judgements import join_judges
from ..precision import as_full_float
from ..rewards.cgpo import cgpo_constrained_reward, check_cgpo_kl_max
from .pairs import PairIndices


class WeightedChoice(NamedTuple):
    """Index of the chosen completion of each prompt, -1 if none, and its weight, 0 if none; [G] each."""

    index: torch.Tensor
    weight: torch.Tensor


def cgpo_codpo_pairs(rewards: Numbers, satisfied: Numbers, num_generations: int) -> PairIndices:
    """The best completion that satisfies all judges against the worst that violates one, or else the worst of all.

    Chosen by masks, never by products of reward and verdict: those pick violated completions once rewards are negative.

    Args:
        rewards: [N], groups being consecutive runs of `num_generations` rows; NaN where there is none; detached.
        satisfied: [N] or [N, M] verdicts of M judges, all of which must be satisfied; NaN where a judge failed.
        num_generations: K, at least 1, a divisor of N.

    Returns:
        `PairIndices(chosen [G] int64, rejected [G] int64, valid [G] bool)`, indices into the N rows, -1 where the
        prompt gives no pair: nothing satisfied, or a single completion, or all satisfied and all rewards equal. Ties go
        to the lowest index. Rows without reward or known verdict are in no pair.

    Raises:
        ValueError: for another shape or incomplete groups.
    """
    reward = as_full_float(as_rewards(rewards, max_dim=1))
    groups = split_groups(reward, num_generations)
    verdicts = join_judges(satisfied, len(reward))
    scored = ~groups.isnan()
    good, bad = scored & verdicts.satisfied.view_as(groups), scored & verdicts.violated.view_as(groups)
    rejectable = torch.where(bad.any(dim=1, keepdim=True), bad, good)
    chosen = groups.masked_fill(~good, -math.inf).argmax(dim=1)
    rejected = groups.masked_fill(~rejectable, math.inf).argmin(dim=1)
    # One satisfied completion alone, or equal ones, would be chosen and rejected at once.
    valid = good.any(dim=1) & (chosen != rejected)
    return PairIndices(_rows(chosen, valid, num_generations), _rows(rejected, valid, num_generations), valid)


def cgpo_crraft_select(
    rewards: Numbers,
    baseline_rewards: Numbers,
    satisfied: Numbers,
    logps: Numbers,
    ref_logps: Numbers,
    num_generations: int,
    kl_max: float,
) -> WeightedChoice:
    r"""The best completion that satisfies all judges and stays near the reference, weighted by its calibrated reward.

    The loss is \( -\text{weight} \cdot \log\pi(y) \), log π summed over the tokens (Eq. 18).

    Args:
        rewards, baseline_rewards, satisfied: see `cgpo_constrained_reward`; groups are consecutive runs of
            `num_generations` rows.
        logps, ref_logps: [N], log-probabilities summed over each completion, in nats, under the policy that sampled
            and under the frozen reference; detached.
        num_generations: K, at least 1, a divisor of N.
        kl_max: largest log-ratio of an eligible completion, above 0, in nats of the whole sequence.

    Returns:
        `WeightedChoice(index [G] int64, weight [G])`, indices into the N rows; -1 and 0 where none is eligible. Ties go
        to the lowest index. Rows without reward, baseline reward or known verdict are not eligible.

    Raises:
        ValueError: for another shape, incomplete groups, or `kl_max` not above 0.
    """
    check_cgpo_kl_max(kl_max)
    reward = as_full_float(as_rewards(rewards, max_dim=1))
    groups = split_groups(reward, num_generations)
    policy, reference = as_full_float(logps).detach(), as_full_float(ref_logps).detach()
    require_same_shape(rewards=reward, logps=policy, ref_logps=reference)
    weight = cgpo_constrained_reward(reward, baseline_rewards, satisfied)
    near = policy - reference <= kl_max
    eligible = (near & join_judges(satisfied, len(reward)).satisfied & ~weight.isnan()).view_as(groups)
    index = groups.masked_fill(~eligible, -math.inf).argmax(dim=1)
    found = eligible.any(dim=1)
    best = weight.view_as(groups).gather(1, index[:, None])[:, 0]
    return WeightedChoice(_rows(index, found, num_generations), torch.where(found, best, 0.0))


def _rows(index: torch.Tensor, valid: torch.Tensor, num_generations: int) -> torch.Tensor:
    """Indices within groups, [G], as indices into the batch; -1 where not valid."""
    offset = torch.arange(len(index), device=index.device) * num_generations
    return torch.where(valid, index + offset, -1)
