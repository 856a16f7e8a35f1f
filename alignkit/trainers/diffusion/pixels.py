"""From images of any size to the pixels that the VAE encodes."""

from typing import Any

import torch


def to_pixels(image: Any, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale the shorter side of a PIL image to `resolution` and cut out the centre.

    Returns:
        pixels [3, resolution, resolution] in [-1, 1], and what SDXL is told of them, [6] float32: height and width of the
        original, top and left of the cut, height and width of the result.
    """
    import numpy as np
    from PIL import Image

    image = image.convert("RGB")
    scale = resolution / min(image.size)
    width, height = (max(resolution, round(side * scale)) for side in image.size)
    resized = image if (width, height) == image.size else image.resize((width, height), Image.Resampling.LANCZOS)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    cut = resized.crop((left, top, left + resolution, top + resolution))
    pixels = torch.from_numpy(np.asarray(cut, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1).contiguous()
    original_width, original_height = image.size
    return pixels, torch.tensor(
        [original_height, original_width, top, left, resolution, resolution], dtype=torch.float32
    )


def generated_time_ids(count: int, resolution: int) -> torch.Tensor:
    """What SDXL is told of images that it makes itself, [count, 6]."""
    return torch.tensor([[resolution, resolution, 0, 0, resolution, resolution]], dtype=torch.float32).repeat(count, 1)
