"""What noise does to a clean sample, and what a denoiser is asked to predict."""

import torch

from ..arguments import Numbers, as_float, require_choice, require_same_shape


PREDICTION_TYPES = ("epsilon", "sample", "v_prediction", "flow")


def noised_sample(sample: Numbers, noise: Numbers, alpha: Numbers, sigma: Numbers) -> torch.Tensor:
    r"""\( x_t = \alpha_t x + \sigma_t \epsilon \).

    A diffusion model has \( \alpha_t = \sqrt{\bar\alpha_t}, \sigma_t = \sqrt{1 - \bar\alpha_t} \); flow matching has
    \( \alpha_t = 1 - \sigma_t \).

    Args:
        sample, noise: [B, ...], the clean sample and the noise.
        alpha, sigma: [B], their weights at each sample's time.

    Returns:
        [B, ...].

    Raises:
        ValueError: if the shapes of sample and noise differ, or a weight does not hold one number per sample.
    """
    sample, noise, alpha, sigma = _as_batch(sample, noise, alpha, sigma)
    return alpha * sample + sigma * noise


def prediction_target(
    sample: Numbers, noise: Numbers, alpha: Numbers, sigma: Numbers, prediction_type: str
) -> torch.Tensor:
    r"""What the denoiser predicts from \( x_t \), without gradient.

    `"epsilon"`: \( \epsilon \); `"sample"`: \( x \); `"v_prediction"`: \( \alpha_t \epsilon - \sigma_t x \) (arXiv
    2202.00512, appendix D); `"flow"`: \( \epsilon - x \), the velocity from sample to noise (arXiv 2403.03206).

    Args:
        sample, noise, alpha, sigma: as in `noised_sample`.
        prediction_type: one of `PREDICTION_TYPES`.

    Returns:
        [B, ...].

    Raises:
        ValueError: for another `prediction_type`, or shapes as in `noised_sample`.
    """
    require_choice("prediction_type", prediction_type, PREDICTION_TYPES)
    sample, noise, alpha, sigma = _as_batch(sample, noise, alpha, sigma)
    if prediction_type == "epsilon":
        return noise.detach()
    if prediction_type == "sample":
        return sample.detach()
    if prediction_type == "v_prediction":
        return (alpha * noise - sigma * sample).detach()
    return (noise - sample).detach()


def _as_batch(sample: Numbers, noise: Numbers, alpha: Numbers, sigma: Numbers) -> tuple[torch.Tensor, ...]:
    """All four as tensors, the weights shaped to multiply the samples."""
    sample, noise, alpha, sigma = (as_float(values) for values in (sample, noise, alpha, sigma))
    require_same_shape(sample=sample, noise=noise)
    for name, weight in (("alpha", alpha), ("sigma", sigma)):
        if weight.shape != sample.shape[:1]:
            raise ValueError(
                f"`{name}` has shape {list(weight.shape)}; expected {list(sample.shape[:1])}, one number per sample."
            )
    shape = (-1, *[1] * (sample.dim() - 1))
    return sample, noise, alpha.to(sample.dtype).view(shape), sigma.to(sample.dtype).view(shape)
