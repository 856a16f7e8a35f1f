"""The error of a denoiser on a noised sample, from which every diffusion loss is made."""

import torch

from ..arguments import Numbers, require_same_shape
from ..precision import as_full_float


def prediction_errors(prediction: Numbers, target: Numbers) -> torch.Tensor:
    r"""\( e = \mathrm{mean}\,(m(x_t, t, c) - y)^2 \) of each sample, over everything but the batch.

    The mean and not the sum: the number of pixels is absorbed into `beta`, which is why that is in the thousands.

    Args:
        prediction: [B, ...], output of the denoiser, with gradient.
        target: [B, ...], what it should predict; detached.

    Returns:
        [B], at least float32 whatever the inputs.

    Raises:
        ValueError: if the shapes differ, or there is no dimension beside the batch.
    """
    prediction, target = as_full_float(prediction), as_full_float(target).detach()
    require_same_shape(prediction=prediction, target=target)
    if prediction.dim() < 2:
        raise ValueError(f"`prediction` has shape {list(prediction.shape)}; expected [batch, ...].")
    return (prediction - target).square().flatten(1).mean(1)
