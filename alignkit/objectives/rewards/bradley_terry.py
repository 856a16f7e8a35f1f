"""Bradley-Terry: scores of a reward model as a matrix of preference probabilities."""

import torch

from ..arguments import Numbers
from ..precision import as_full_float


def bradley_terry_preferences(scores: Numbers) -> torch.Tensor:
    r"""\( P(i \succ j) = \sigma(s_i - s_j) \), a transitive preference model, with exactly 0.5 on the diagonal.

    Args:
        scores: [N, K], one score for each of K responses to N prompts, in the units of the reward model; NaN (not
            scored) gives NaN in its row and column. Differentiable; half precision is widened to float32.

    Returns:
        [N, K, K] probabilities.

    Raises:
        ValueError: if `scores` is not two-dimensional.
    """
    scores = as_full_float(scores)
    if scores.dim() != 2:
        raise ValueError(
            f"`scores` has shape {list(scores.shape)}; expected [N, K]: K responses to each of N prompts."
        )
    preferences = torch.sigmoid(scores[:, :, None] - scores[:, None, :])
    diagonal = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
    return preferences.masked_fill(diagonal, 0.5)
