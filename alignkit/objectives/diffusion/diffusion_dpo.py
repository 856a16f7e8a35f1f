"""Diffusion-DPO (arXiv 2311.12908): the loss of DPO, with prediction errors in the place of log-likelihoods."""

import math

import torch
import torch.nn.functional as F

from ..arguments import Numbers, as_float, require_range, require_same_shape
from ..precision import as_full_float


def check_diffusion_dpo(beta: float) -> None:
    """Raise `ValueError` unless `beta` is above 0 and finite."""
    require_range("beta", beta, 0.0, math.inf, low_open=True, high_open=True)


def diffusion_dpo_loss(
    policy_chosen_errors: Numbers,
    policy_rejected_errors: Numbers,
    ref_chosen_errors: Numbers,
    ref_rejected_errors: Numbers,
    beta: float = 5000.0,
    weights: Numbers | None = None,
) -> torch.Tensor:
    r"""\( -\log\sigma(-\tfrac12 \beta w [(e_\theta(x^w) - e_{ref}(x^w)) - (e_\theta(x^l) - e_{ref}(x^l))]) \) of each pair.

    Eq. 14 of the paper, whose \( T\omega(\lambda_t) \) and sum over pixels its code absorbs into `beta`.

    Args:
        policy_chosen_errors, policy_rejected_errors: [B], errors of the trained model (`prediction_errors`), with gradient.
        ref_chosen_errors, ref_rejected_errors: [B], errors of the reference at the same time and noise; detached.
        beta: strength of the KL to the reference, above 0 and finite.
        weights: [B], \( \omega(\lambda_t) \) up to a constant, at least 0; None is 1 everywhere, as in the paper's code.

    Returns:
        [B] losses.

    Raises:
        ValueError: if `beta` or a weight lies outside its range, or the shapes differ.
    """
    check_diffusion_dpo(beta)
    chosen, rejected = error_changes(
        policy_chosen_errors=policy_chosen_errors,
        policy_rejected_errors=policy_rejected_errors,
        ref_chosen_errors=ref_chosen_errors,
        ref_rejected_errors=ref_rejected_errors,
    )
    return F.softplus(0.5 * beta * pair_weights(weights, chosen) * (chosen - rejected))


def error_changes(**errors: Numbers) -> tuple[torch.Tensor, torch.Tensor]:
    r"""\( \Delta = e_\theta - e_{ref} \) of the first and of the second sample of each pair, two [B].

    Takes four [B] by name, those of the policy first; those of the reference are detached. Raises `ValueError` when the
    shapes differ.
    """
    tensors = {name: as_full_float(values) for name, values in errors.items()}
    require_same_shape(**tensors)
    policy_first, policy_second, ref_first, ref_second = tensors.values()
    return policy_first - ref_first.detach(), policy_second - ref_second.detach()


def pair_weights(weights: Numbers | None, like: torch.Tensor) -> torch.Tensor:
    """The weights of the pairs, detached; ones where there are none. Raises `ValueError` for a negative or missing one."""
    if weights is None:
        return torch.ones_like(like)
    values = as_float(weights).detach().to(like.dtype)
    if values.shape != like.shape:
        raise ValueError(
            f"`weights` has shape {list(values.shape)}; expected {list(like.shape)}, one number per pair."
        )
    if values.numel():
        require_range("weights", values.min().item(), 0.0)
    return values
