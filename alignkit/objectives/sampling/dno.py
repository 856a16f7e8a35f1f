"""DNO-Prct's data rules (arXiv 2404.03715, Algorithm 2): pairs with a large margin, and replay of older ones."""

import math

import torch

from ..arguments import Numbers, as_bool, as_long, require_range, require_same_shape
from ..precision import as_full_float


def check_dno_pairs(min_positive: float, margin: float, student_margin: float) -> None:
    """Raise `ValueError` unless the threshold is finite and both margins are above 0."""
    require_range("min_positive", min_positive, -math.inf, math.inf, low_open=True, high_open=True)
    require_range("margin", margin, 0.0, math.inf, low_open=True, high_open=True)
    require_range("student_margin", student_margin, 0.0, math.inf, low_open=True, high_open=True)


def dno_pair_mask(
    scores: Numbers,
    is_teacher: Numbers,
    min_positive: float = 5.0,
    margin: float = 2.0,
    student_margin: float = 1.0,
) -> torch.Tensor:
    """All pairs of responses with a large margin; entry (n, i, j) says that i is chosen over j.

    The chosen one scores at least `min_positive`, and the rejected one at least `margin` less, or only
    `student_margin` less if the chosen one is the student's own.

    Args:
        scores: [N, K'], scores of K' responses (paper: 0 to 6); NaN (not scored) is in no pair.
        is_teacher: [N, K'], True for a gold response, False for a sample of the policy.
        min_positive: least score of a chosen response.
        margin: least gap if the chosen response is the teacher's, above 0.
        student_margin: least gap if it is the student's, above 0.

    Returns:
        [N, K', K'] bool.

    Raises:
        ValueError: for a margin that is not above 0, or arguments that are not [N, K'] both.
    """
    check_dno_pairs(min_positive, margin, student_margin)
    scores, is_teacher = as_full_float(scores).detach(), as_bool(is_teacher)
    if scores.dim() != 2:
        raise ValueError(f"`scores` has shape {list(scores.shape)}; expected [N, K']: K' responses to each prompt.")
    require_same_shape(scores=scores, is_teacher=is_teacher)
    teacher_margin, own_margin = scores.new_tensor(margin), scores.new_tensor(student_margin)
    needed = torch.where(is_teacher, teacher_margin, own_margin)
    gaps = scores[:, :, None] - scores[:, None, :]
    return (scores >= min_positive)[:, :, None] & (gaps >= needed[:, :, None])


def check_dno_replay(fraction: float, decay: float) -> None:
    """Raise `ValueError` unless both shares lie in [0, 1]."""
    require_range("fraction", fraction, 0.0, 1.0)
    require_range("decay", decay, 0.0, 1.0)


def dno_replay_counts(history_sizes: Numbers, fraction: float = 0.3, decay: float = 0.5) -> torch.Tensor:
    r"""Number of pairs to replay from each past iteration, \( \lfloor \text{fraction} \cdot \text{decay}^k \cdot \text{size}_k \rfloor \).

    Args:
        history_sizes: [H], pairs stored from past iterations, newest first (k = 0); empty in the first iteration.
        fraction: share of the newest iteration's pairs, in [0, 1].
        decay: factor on the share for each iteration further back, in [0, 1].

    Returns:
        [H] int64, never more than the stored sizes.

    Raises:
        ValueError: for a share outside [0, 1], a negative size or sizes that are not one-dimensional.
    """
    check_dno_replay(fraction, decay)
    sizes = as_long(history_sizes)
    if sizes.dim() != 1:
        raise ValueError(f"`history_sizes` has shape {list(sizes.shape)}; expected [H]: one size per past iteration.")
    if bool((sizes < 0).any()):
        raise ValueError(f"`history_sizes` holds {int(sizes.min())}; valid range: [0, inf).")
    ages = torch.arange(len(sizes), dtype=torch.float64, device=sizes.device)
    # The small constant keeps 0.29 * 100 at 29: in floating point the product lies just below.
    return torch.floor(fraction * decay**ages * sizes + 1e-9).to(torch.int64)
