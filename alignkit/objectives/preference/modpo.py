"""MODPO (arXiv 2310.03708): DPO on one objective's pairs, with the other objectives as a margin."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from ..arguments import Numbers, as_float, require_choice, require_range
from .dpo import log_ratio_gap


LOSS_TYPES = ("sigmoid", "hinge")


def check_modpo(weights: Sequence[float], loss_type: str = "sigmoid") -> None:
    """Raise `ValueError` unless the weights are finite, non-negative and the first one is positive."""
    require_choice("loss_type", loss_type, LOSS_TYPES)
    if len(weights) == 0:
        raise ValueError("`weights` is empty; give one number per objective, that of the preference pairs first.")
    require_range("weights[0]", float(weights[0]), 0.0, low_open=True, high=float("inf"), high_open=True)
    for index, weight in enumerate(weights[1:], start=1):
        require_range(f"weights[{index}]", float(weight), 0.0, float("inf"), high_open=True)


def modpo_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    chosen_margin_rewards: Numbers,
    rejected_margin_rewards: Numbers,
    weights: Sequence[float],
    beta: float = 0.1,
    loss_type: str = "sigmoid",
) -> torch.Tensor:
    r"""Multi-objective DPO loss of each pair, \( -\log\sigma(z) \), or \( \max(0, 1 - z) \) for `"hinge"`.

    \( z = \frac{1}{w_0}\{\beta\Delta - \sum_{i \ge 1} w_i [r_i(y_w) - r_i(y_l)]\} \). The margin is subtracted: the
    policy must cover all objectives together, so pairs on which the others agree demand a larger log-ratio gap.

    Args:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under the frozen SFT model; detached.
        chosen_margin_rewards, rejected_margin_rewards: [B, K-1], rewards of the other objectives; detached.
        weights: K numbers, `weights[0]` (above 0) for the objective of the pairs, the others (at least 0) in the
            order of the margin columns. They need not sum to one.
        beta: inverse temperature, above 0; the effective DPO temperature is `beta / weights[0]`.
        loss_type: `"sigmoid"` or `"hinge"`.

    Returns:
        [B] losses.

    Raises:
        ValueError: for a weight, `beta` or `loss_type` outside its range, or a wrong number of margins.
    """
    weights = [float(weight) for weight in weights]
    check_modpo(weights, loss_type)
    require_range("beta", beta, 0.0, low_open=True)
    gap = log_ratio_gap(policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps)
    margins = modpo_margins(chosen_margin_rewards, rejected_margin_rewards, weights)
    if margins.shape != gap.shape:
        raise ValueError(
            f"the margin rewards hold {list(margins.shape)} pairs; expected {list(gap.shape)}, as the log-probabilities."
        )
    z = (beta * gap - margins) / weights[0]
    return -F.logsigmoid(z) if loss_type == "sigmoid" else torch.relu(1 - z)


def modpo_margins(
    chosen_margin_rewards: Numbers, rejected_margin_rewards: Numbers, weights: Sequence[float]
) -> torch.Tensor:
    r"""\( \sum_{i \ge 1} w_i [r_i(y_w) - r_i(y_l)] \), shape [B], without gradient.

    Raises `ValueError` when the two [B, K-1] arguments disagree or do not hold one reward per weight after the first.
    """
    chosen, rejected = as_float(chosen_margin_rewards).detach(), as_float(rejected_margin_rewards).detach()
    for name, rewards in (("chosen_margin_rewards", chosen), ("rejected_margin_rewards", rejected)):
        if rewards.dim() != 2 or rewards.shape[1] != len(weights) - 1:
            raise ValueError(
                f"`{name}` has shape {list(rewards.shape)}; expected [batch, {len(weights) - 1}]: one reward for each "
                f"of the {len(weights)} weights after the first."
            )
    if chosen.shape != rejected.shape:
        raise ValueError(
            f"`rejected_margin_rewards` has shape {list(rejected.shape)}; expected {list(chosen.shape)}, "
            "the shape of `chosen_margin_rewards`."
        )
    return (chosen - rejected) @ torch.as_tensor(weights[1:], dtype=chosen.dtype, device=chosen.device)
