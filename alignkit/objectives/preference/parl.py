"""PARL's form for language models, SAIL (arXiv 2406.15567): DPO with the gradient through labels and samples."""

import math

import torch
import torch.nn.functional as F

from ..arguments import Numbers, as_long, require_choice, require_range, require_same_shape
from ..precision import as_full_float
from .dpo import log_ratio_gap


# Where the pair of an example and its label come from.
DPO, DDP, DPP, DPR = range(4)
SCORE_BASELINES = ("none", "batch")


def check_parl(
    beta: float = 0.1,
    ddp_coef: float = 0.2,
    dpp_coef: float = 0.2,
    dpr_coef: float = 0.3,
    score_baseline: str = "none",
) -> None:
    """Raise `ValueError` for `beta` not above 0, a coefficient below 0 or an unknown baseline."""
    require_range("beta", beta, 0.0, math.inf, low_open=True, high_open=True)
    for name, value in {"ddp_coef": ddp_coef, "dpp_coef": dpp_coef, "dpr_coef": dpr_coef}.items():
        require_range(name, value, 0.0, math.inf, high_open=True)
    require_choice("score_baseline", score_baseline, SCORE_BASELINES)


def parl_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    route: Numbers,
    beta: float = 0.1,
    ddp_coef: float = 0.2,
    dpp_coef: float = 0.2,
    dpr_coef: float = 0.3,
    score_baseline: str = "none",
) -> torch.Tensor:
    r"""Loss of each pair, \( -S - \frac12 q S^2 + w (s - sg(s)) \) with \( S = \log\sigma(\beta\Delta) \).

    \( s = \log\pi(y_w) + \log\pi(y_l) \), w from `parl_score_weights`, q the coefficient of a label that the policy drew
    itself: \( S^2/2 \) is the gradient through the draw of the label, the last term (0 in value) that through the draw of
    the two responses. With coefficients of 1 the expected gradient is that of
    \( E[-\log\sigma(\beta\Delta)] \), with 0 that of online DPO.

    | route | pair | label | q | coefficient in w |
    |---|---|---|---|---|
    | 0 DPO | offline | data set | 0 | 0 |
    | 1 DDP | offline | drawn by the policy (`parl_swap`) | `ddp_coef` | 0 |
    | 2 DPP | sampled from the policy | drawn by the policy | `dpp_coef` | `dpp_coef` |
    | 3 DPR | sampled from the policy | reward model or judge | 0 | `dpr_coef` |

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], log-probabilities *summed* over each completion, in nats, after
            labelling or swapping, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under the frozen reference; detached.
        route: [B], 0 to 3.
        beta: inverse temperature of the implicit reward, above 0.
        ddp_coef, dpp_coef, dpr_coef: at least 0; where q |S| > 1 the pull on the pair changes its sign.
        score_baseline: see `parl_score_weights`.

    Returns:
        [B] losses.

    Raises:
        ValueError: for a hyper-parameter or route outside its range, or shapes that differ.
    """
    check_parl(beta, ddp_coef, dpp_coef, dpr_coef, score_baseline)
    gap = log_ratio_gap(policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps)
    routes = _as_routes(route, gap)
    log_likelihood = F.logsigmoid(beta * gap)
    label_coef = _per_route(routes, log_likelihood, {DDP: ddp_coef, DPP: dpp_coef})
    weights = _score_weights(log_likelihood, routes, dpp_coef, dpr_coef, score_baseline)
    pair = as_full_float(policy_chosen_logps) + as_full_float(policy_rejected_logps)
    return -log_likelihood - label_coef * log_likelihood.square() / 2 + weights * (pair - pair.detach())


def parl_score_weights(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    route: Numbers,
    beta: float = 0.1,
    dpp_coef: float = 0.2,
    dpr_coef: float = 0.3,
    score_baseline: str = "none",
) -> torch.Tensor:
    r"""Weight w = \( -\text{coef} \cdot S \) of each pair's \( \log\pi(y_w) + \log\pi(y_l) \) in the gradient of `parl_loss`.

    At least 0: a pair that the policy explains badly has both likelihoods pushed down. With `score_baseline` `"batch"`
    the mean of S over the rows of routes 2 and 3 is subtracted first (less variance, unbiased up to \( 1 - 1/B \)), and
    w may be negative.

    Args: as `parl_loss`.

    Returns:
        [B] weights without gradient, 0 for routes 0 and 1.

    Raises:
        ValueError: for a hyper-parameter or route outside its range, or shapes that differ.
    """
    check_parl(beta, dpp_coef=dpp_coef, dpr_coef=dpr_coef, score_baseline=score_baseline)
    gap = log_ratio_gap(policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps)
    return _score_weights(F.logsigmoid(beta * gap), _as_routes(route, gap), dpp_coef, dpr_coef, score_baseline)


def _score_weights(
    log_likelihood: torch.Tensor, routes: torch.Tensor, dpp_coef: float, dpr_coef: float, score_baseline: str
) -> torch.Tensor:
    """Detached weights of the score term, [B]."""
    signal = log_likelihood.detach()
    sampled = routes >= DPP
    if score_baseline == "batch" and bool(sampled.any()):
        signal = signal - signal[sampled].mean()
    return -_per_route(routes, signal, {DPP: dpp_coef, DPR: dpr_coef}) * signal


def _as_routes(route: Numbers, gap: torch.Tensor) -> torch.Tensor:
    """Routes as int64 [B]; `ValueError` at one outside 0..3."""
    routes = as_long(route).to(gap.device)
    require_same_shape(policy_chosen_logps=gap, route=routes)
    wrong = (routes < DPO) | (routes > DPR)
    if bool(wrong.any()):
        index = int(wrong.nonzero()[0])
        raise ValueError(f"`route` is {int(routes[index])} at index {index}; valid values: 0, 1, 2, 3.")
    return routes


def _per_route(routes: torch.Tensor, like: torch.Tensor, coefs: dict[int, float]) -> torch.Tensor:
    """Coefficient of each row, 0 for the routes that are not named."""
    table = like.new_tensor([coefs.get(route, 0.0) for route in range(4)])
    return table[routes]
