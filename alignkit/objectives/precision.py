"""Half-precision inputs are computed in float32: sums of log-probabilities and reward gaps need the digits."""

import torch

from .arguments import Numbers, as_float


def as_full_float(values: Numbers) -> torch.Tensor:
    """Return `values` as float32 or float64: bfloat16 and float16 are widened, lists become float64; gradient kept.

    A bfloat16 number near -200 has a resolution of 1, and the square of 500 overflows float16.
    """
    tensor = as_float(values)
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
