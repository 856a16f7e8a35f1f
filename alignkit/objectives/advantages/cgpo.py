"""CGPO's calibrated-regularised policy gradient, CRPG (arXiv 2409.20370)."""

import torch

from ..arguments import Numbers, require_choice, require_same_shape
from ..groups import as_rewards, centre, split_groups, zero_nan
from ..precision import as_full_float
from ..rewards.cgpo import cgpo_constrained_reward, check_cgpo_kl_max


BASELINES = ("batch", "group")


def cgpo_advantages(
    rewards: Numbers,
    num_generations: int,
    baseline_rewards: Numbers,
    satisfied: Numbers,
    logps: Numbers,
    ref_logps: Numbers,
    kl_max: float,
    baseline: str = "batch",
) -> torch.Tensor:
    r"""Advantage of each completion, \( A_k = \tilde R_k - \text{mean}(\tilde R) \).

    \( \tilde R_k = R_k \max(0, 1 - (\log\pi_{old}(y_k) - \log\pi_{ref}(y_k)) / KL_{max}) \), with \( R_k \) from
    `cgpo_constrained_reward`. The factor is not capped above: a completion that the reference likes more counts more.

    Args:
        rewards: [N], groups being consecutive runs of `num_generations` rows; NaN where there is none; detached.
        num_generations: K, at least 1, a divisor of N.
        baseline_rewards: [N], reward of the baseline answer to the same prompt; detached.
        satisfied: [N] or [N, M] verdicts of M judges, all of which must be satisfied; NaN where a judge failed.
        logps, ref_logps: [N], log-probabilities summed over each completion, in nats, under the policy that sampled
            and under the frozen reference; detached.
        kl_max: \( KL_{max} \), above 0, in nats of the whole sequence; from there on a completion counts as violated.
        baseline: mean over the `"batch"` (give the rows of all processes) or over the `"group"`.

    Returns:
        [N] advantages without gradient. A row without reward, baseline reward or known verdict is left out of the mean
        and has advantage 0.

    Raises:
        ValueError: for another shape, incomplete groups, an unknown `baseline`, or `kl_max` not above 0.
    """
    check_cgpo_kl_max(kl_max)
    require_choice("baseline", baseline, BASELINES)
    reward = as_full_float(as_rewards(rewards, max_dim=1))
    groups = split_groups(reward, num_generations)
    policy, reference = as_full_float(logps).detach(), as_full_float(ref_logps).detach()
    require_same_shape(rewards=reward, logps=policy, ref_logps=reference)
    constrained = cgpo_constrained_reward(reward, baseline_rewards, satisfied)
    missing = reward.isnan() | as_full_float(baseline_rewards).detach().isnan()
    regularised = constrained * (1 - (policy - reference) / kl_max).clamp(min=0)
    regularised = regularised.masked_fill(missing, torch.nan)
    pools = regularised.view_as(groups) if baseline == "group" else regularised[None]
    return zero_nan(centre(pools)).flatten()
