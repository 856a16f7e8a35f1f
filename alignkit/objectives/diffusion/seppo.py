"""SePPO (arXiv 2410.05255): a sample of an earlier checkpoint in the place of the loser, and a rule for its sign."""

import torch
import torch.nn.functional as F

from ..arguments import Numbers, require_choice, require_same_shape
from ..precision import as_full_float
from .diffusion_dpo import check_diffusion_dpo, error_changes, pair_weights


FLIPPERS = ("sign", "indicator", "none")


def check_seppo(beta: float, flipper: str = "sign") -> None:
    """Raise `ValueError` unless `beta` is above 0 and finite and the flipper is known."""
    check_diffusion_dpo(beta)
    require_choice("flipper", flipper, FLIPPERS)


def seppo_flip(policy_chosen_errors: Numbers, ref_chosen_errors: Numbers, flipper: str = "sign") -> torch.Tensor:
    r"""The anchor-based adaptive flipper s of each pair, without gradient.

    `"sign"`: \( s = \mathrm{sign}(e_{ref}(x^w) - e_\theta(x^w)) \). +1: the policy predicts the winner (the anchor) better
    than the reference, whose sample counts as a loser; -1: the reference is the better one, and its sample counts as a
    winner; 0 on a tie, where the sample says nothing. `"indicator"`: 1 where \( e_{ref}(x^w) > e_\theta(x^w) \), else 0.
    `"none"`: 1, which is Diffusion-DPO against the sample.

    Args:
        policy_chosen_errors, ref_chosen_errors: [B], errors on the winner at the same time and noise; detached.
        flipper: one of `FLIPPERS`.

    Returns:
        [B], of -1, 0 and 1.

    Raises:
        ValueError: for another flipper, or if the shapes differ.
    """
    require_choice("flipper", flipper, FLIPPERS)
    policy, ref = as_full_float(policy_chosen_errors).detach(), as_full_float(ref_chosen_errors).detach()
    require_same_shape(policy_chosen_errors=policy, ref_chosen_errors=ref)
    if flipper == "none":
        return torch.ones_like(policy)
    return torch.sign(ref - policy) if flipper == "sign" else (ref > policy).to(policy.dtype)


def seppo_loss(
    policy_chosen_errors: Numbers,
    policy_sample_errors: Numbers,
    ref_chosen_errors: Numbers,
    ref_sample_errors: Numbers,
    beta: float = 5000.0,
    weights: Numbers | None = None,
    flipper: str = "sign",
) -> torch.Tensor:
    r"""\( -\log\sigma(-\tfrac12 \beta w [\Delta_w - s\,\Delta_r]) \) of each winner and sample.

    \( \Delta = e_\theta - e_{ref} \), s as in `seppo_flip`. The scale ½ β of mean errors is Diffusion-DPO's; the paper's own
    is not known.

    Args:
        policy_chosen_errors, policy_sample_errors: [B], errors of the trained model on the winner and on the sample of the
            reference, with gradient.
        ref_chosen_errors, ref_sample_errors: [B], errors of the reference; detached.
        beta: strength of the KL to the reference, above 0 and finite.
        weights: [B], at least 0; None is 1 everywhere.
        flipper: `"sign"`, `"indicator"` or `"none"`.

    Returns:
        [B] losses.

    Raises:
        ValueError: if `beta`, a weight or the flipper is not valid, or the shapes differ.
    """
    check_seppo(beta, flipper)
    chosen, sample = error_changes(
        policy_chosen_errors=policy_chosen_errors,
        policy_sample_errors=policy_sample_errors,
        ref_chosen_errors=ref_chosen_errors,
        ref_sample_errors=ref_sample_errors,
    )
    flip = seppo_flip(policy_chosen_errors, ref_chosen_errors, flipper)
    return F.softplus(0.5 * beta * pair_weights(weights, chosen) * (chosen - flip * sample))
