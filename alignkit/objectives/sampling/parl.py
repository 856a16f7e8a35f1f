"""PARL/SAIL (arXiv 2406.15567): where a pair comes from, and the label that the policy itself draws."""

import torch

from ..arguments import Numbers, require_range, require_same_shape
from ..preference.dpo import log_ratio_gap
from ..probabilities import as_probabilities


def check_parl_mixtures(ddp_mixture: float, dpp_mixture: float, dpr_mixture: float) -> None:
    """Raise `ValueError` unless the three shares lie in [0, 1] and sum to at most 1; the rest is plain DPO."""
    shares = {"ddp_mixture": ddp_mixture, "dpp_mixture": dpp_mixture, "dpr_mixture": dpr_mixture}
    for name, value in shares.items():
        require_range(name, value, 0.0, 1.0)
    total = sum(shares.values())
    # A rounding error, as in 0.1 + 0.7 + 0.2, is no mistake.
    if total > 1 + 1e-9:
        raise ValueError(f"`ddp_mixture` + `dpp_mixture` + `dpr_mixture` is {total!r}; valid range: [0, 1].")


def parl_routes(uniform: Numbers, ddp_mixture: float, dpp_mixture: float, dpr_mixture: float) -> torch.Tensor:
    """Draw the route of each example (`parl_loss`): 1, 2 or 3 with the three shares, else 0.

    Args:
        uniform: [B], drawn from [0, 1).
        ddp_mixture, dpp_mixture, dpr_mixture: shares of routes 1, 2 and 3, in [0, 1], together at most 1.

    Returns:
        [B] int64.

    Raises:
        ValueError: for a share or a sum outside [0, 1].
    """
    check_parl_mixtures(ddp_mixture, dpp_mixture, dpr_mixture)
    draws = as_probabilities("uniform", uniform)
    bounds = draws.new_tensor([ddp_mixture, dpp_mixture, dpr_mixture]).cumsum(0)
    return (torch.bucketize(draws, bounds, right=True) + 1) % 4


def parl_swap(
    policy_first_logps: Numbers,
    policy_second_logps: Numbers,
    ref_first_logps: Numbers,
    ref_second_logps: Numbers,
    uniform: Numbers,
    beta: float = 0.1,
) -> torch.Tensor:
    r"""Draw the policy's own label of each pair: True, swap, with probability \( 1 - \sigma(\beta\Delta) \).

    Args:
        policy_first_logps, policy_second_logps: [B], log-probabilities summed over each completion, in nats; no
            gradient goes through the draw.
        ref_first_logps, ref_second_logps: [B], the same under the frozen reference.
        uniform: [B], drawn from [0, 1).
        beta: inverse temperature of the implicit reward, above 0.

    Returns:
        [B] bool, True iff `uniform` is at least \( \sigma(\beta\Delta) \): the second one is then the chosen one.

    Raises:
        ValueError: if `beta` is not above 0, a draw lies outside [0, 1] or the shapes differ.
    """
    require_range("beta", beta, 0.0, low_open=True)
    gap = log_ratio_gap(policy_first_logps, policy_second_logps, ref_first_logps, ref_second_logps).detach()
    draws = as_probabilities("uniform", uniform)
    require_same_shape(policy_first_logps=gap, uniform=draws)
    return draws >= torch.sigmoid(beta * gap)
