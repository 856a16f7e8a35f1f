"""GDPO's conditioned rewards (arXiv 2601.05242): an easy reward counts only where a hard one is reached."""

import math

import torch

from ..arguments import Numbers, as_float, require_range


def gdpo_condition_rewards(rewards: Numbers, target: int, condition: int, threshold: float) -> torch.Tensor:
    r"""Zero the `target` column wherever the `condition` column is below `threshold`.

    \( r'_{target} = r_{target} \cdot 1[r_{condition} \ge t] \); the other columns are unchanged, and the input is not
    modified.

    Args:
        rewards: [N, K], K of at least 2; detached.
        target: index of the easy reward, 0 to K - 1.
        condition: index of the hard reward, another one.
        threshold: lowest value of the hard reward at which the easy one counts, finite, in units of the hard reward.

    Returns:
        [N, K] rewards; NaN in the target column where the condition is NaN.

    Raises:
        ValueError: for another shape, a column out of range, `target` equal to `condition` or a threshold that is not
            finite.
    """
    values = as_float(rewards).detach()
    if values.dim() != 2:
        raise ValueError(f"`rewards` has shape {list(values.shape)}; expected [N, K].")
    require_range("threshold", threshold, -math.inf, math.inf, low_open=True, high_open=True)
    for name, column in (("target", target), ("condition", condition)):
        require_range(name, column, 0, values.shape[1] - 1)
    if target == condition:
        raise ValueError(f"`condition` is {condition}, the `target` itself; give the index of another reward.")
    hard, easy = values[:, condition], values[:, target]
    conditioned = values.clone()
    conditioned[:, target] = torch.where(hard >= threshold, easy, torch.where(hard.isnan(), hard, 0.0))
    return conditioned
