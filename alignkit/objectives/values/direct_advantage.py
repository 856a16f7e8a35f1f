"""Direct advantage (arXiv 2412.18279): a critic of steps, fitted to Monte-Carlo success rates."""

import torch
import torch.nn.functional as F

from ..arguments import Numbers, require_same_shape
from ..precision import as_full_float
from ..probabilities import as_probabilities


def direct_advantage_critic_loss(logits: Numbers, targets: Numbers) -> torch.Tensor:
    r"""Cross-entropy of each state's value \( V = \sigma(z) \) with a soft target, \( \mathrm{softplus}(z) - y z \).

    Args:
        logits: [N], z at the last token of each state, with gradient; half precision is widened to float32.
        targets: [N], share of correct completions from the state, in [0, 1]; detached.

    Returns:
        [N] losses, smallest at \( \sigma(z) = y \), finite for any finite z.

    Raises:
        ValueError: for a target outside [0, 1] (NaN is) or shapes that differ.
    """
    z, y = as_full_float(logits), as_probabilities("targets", targets)
    require_same_shape(logits=z, targets=y)
    return F.binary_cross_entropy_with_logits(z, y.to(z), reduction="none")
