"""The autoencoder that the bundled pipelines share: built from configuration, taught to give the drawings back."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from .scenes import IMAGE_SIZE
from .shapes import mixed_pictures
from .stepping import optimise


LATENT_SIZE = 8
LATENT_CHANNELS = 4
NUM_PICTURES = 4000
# With this chance of each fault 2 in 3 drawings have at most one of the four and 1 in 4 has none.
FAULT_PROBABILITY = 0.3
STEPS, BATCH_SIZE, RATE = 500, 32, 4e-3
KL_WEIGHT = 1e-4
FIRST_LOG_VARIANCE = -6.0


def make_vae() -> Any:
    """The autoencoder: `IMAGE_SIZE` pixels to `LATENT_SIZE` latents of `LATENT_CHANNELS` channels."""
    from diffusers import AutoencoderKL

    levels = (IMAGE_SIZE // LATENT_SIZE).bit_length()
    return AutoencoderKL(
        block_out_channels=(12, 24, 32)[:levels],
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=LATENT_CHANNELS,
        sample_size=IMAGE_SIZE,
        mid_block_add_attention=False,
    )


def load_pictures(seed: int) -> tuple[list[str], torch.Tensor]:
    """Captions and pictures [N, 3, H, W] in [-1, 1] of mixed quality."""
    captions, pictures = mixed_pictures(NUM_PICTURES, FAULT_PROBABILITY, seed)
    return captions, torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(vae: Any, seed: int, steps: int = STEPS) -> None:
    """Teach the autoencoder to give the drawings back: squared error plus a little KL. In place.

    Afterwards `scaling_factor` and `shift_factor` of its configuration make the latents zero mean and unit variance.
    """
    _, pictures = load_pictures(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # Residual branches that start at nothing, and little noise on the latents: it learns several times faster.
        for name, parameter in vae.named_parameters():
            if ".conv2." in name:
                parameter.zero_()
        vae.quant_conv.weight[vae.config.latent_channels :] *= 0.1
        vae.quant_conv.bias[vae.config.latent_channels :] = FIRST_LOG_VARIANCE
    vae.train()
    for batch in optimise(vae.parameters(), RATE, steps, "bundled autoencoder", len(pictures), BATCH_SIZE, generator):
        target = pictures[batch.rows]
        posterior = vae.encode(target).latent_dist
        output = vae.decode(posterior.sample(generator)).sample
        batch.step(F.mse_loss(output, target) + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel())
    vae.eval()
    latents = encode(vae, pictures)
    shift = float(latents.mean())
    vae.register_to_config(scaling_factor=1 / float(latents.std()), shift_factor=shift)


@torch.no_grad()
def encode(vae: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Means [N, C, h, w] of the latents, not scaled."""
    return torch.cat([vae.encode(part).latent_dist.mode() for part in pictures.split(256)])
