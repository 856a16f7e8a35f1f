"""T-PPO (arXiv 2506.15050): GAE of responses that are still being written."""

from ..arguments import Numbers, as_bool
from ..policy.ratios import masked
from ..precision import as_full_float
from ..tokens import last_valid
from .ppo import AdvantagesReturns, gae


def egae(
    rewards: Numbers,
    values: Numbers,
    mask: Numbers,
    truncated: Numbers,
    gamma: float = 1.0,
    lam: float = 0.95,
) -> AdvantagesReturns:
    r"""Extended GAE: a truncated response takes \( V(s_l) := V(s_{l-1}) \) for its unknown next state (Eq. 6).

    A finished one has \( V(s_l) = 0 \), ordinary GAE. With \( \gamma = 1 \) and no reward the last delta of a truncated
    response is 0; with \( \gamma < 1 \) it is \( (\gamma - 1) V(s_{l-1}) \), a bias.

    Args:
        rewards: [N, T], reward of each token; detached. A NaN at a valid token makes its whole row 0.
        values: [N, T], value of the state before each token; detached.
        mask: [N, T], non-zero at the tokens known so far that count.
        truncated: [N], True for a response that goes on in the next window.
        gamma, lam: discount and lambda, in [0, 1].

    Returns:
        `AdvantagesReturns(advantages [N, T], returns [N, T])`, both 0 where masked. The value loss takes Monte-Carlo
        returns of the finished rows instead (`gae` with `critic_lam` 1).

    Raises:
        ValueError: for other shapes, or a discount or lambda outside [0, 1].
    """
    keep, value, open_rows = as_bool(mask), as_full_float(values).detach(), as_bool(truncated)
    if open_rows.shape != keep.shape[:1]:
        raise ValueError(
            f"`truncated` has shape {list(open_rows.shape)}; expected {list(keep.shape[:1])}, one per row."
        )
    if value.dim() != 2 or value.shape != keep.shape:
        raise ValueError(
            f"`values` has shape {list(value.shape)}; expected [N, T], the shape {list(keep.shape)} of `mask`."
        )
    bootstrap = masked(value, last_valid(keep) & open_rows[:, None]).sum(dim=1)
    return gae(rewards, value, keep, gamma, lam, bootstrap_values=bootstrap)
