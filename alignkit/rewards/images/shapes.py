"""The rule scorer of the bundled shapes: how well a picture shows what its caption says, and how good a drawing it is.

The shape is found as what is coloured (the backgrounds are grey). The score is the mean of five parts, each in [0, 1]:

    colour      1 where the shape's mean colour is the caption's, 0 from a distance of 120 on
    shape       1 where it overlaps by 90 % with the caption's shape of the same area and centroid, 0 at 60 %
    size        area against that of a good drawing, the smaller through the larger
    centre      1 in the middle, 0 where the centroid is 0.2 picture widths away
    background  1 where it is evenly the caption's, 0 from a mean distance of 30 on

Colours and distances are in 0 to 255. A picture without anything coloured has the background's part alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...data.diffusion.scenes import BACKGROUNDS, COLOURS, GOOD_SIZE, IMAGE_SIZE, Scene, parse_caption, shape_mask


if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

# Counts up with every change of the rule, so that scores of different rules never mix.
VERSION = "1"
PARTS = ("colour", "shape", "size", "centre", "background")
# Saturation (largest minus smallest channel) above which a pixel belongs to the shape, by degrees.
SATURATED = (25.0, 100.0)
LEAST_AREA = 0.01
COLOUR_DISTANCE, CENTRE_DISTANCE, BACKGROUND_DISTANCE = 120.0, 0.2, 30.0
OVERLAP = (0.6, 0.9)
PLAIN = 0.05


class ShapesScorer:
    """Mean of the five parts of the rule, in [0, 1]."""

    unit = "0 to 1"

    def score(self, prompts: Sequence[str], images: Sequence[Image]) -> list[float]:
        """One score per image."""
        return [sum(parts.values()) / len(parts) for parts in self.parts(prompts, images)]

    def parts(self, prompts: Sequence[str], images: Sequence[Image]) -> list[dict[str, float]]:
        """The five parts of each image's score, by name."""
        return [score_parts(prompt, image) for prompt, image in zip(prompts, images, strict=True)]


def score_parts(prompt: str, image: Image) -> dict[str, float]:
    """The five parts of the score of one image, by name."""
    import numpy as np

    scene = parse_caption(prompt)
    small = image.convert("RGB")
    if small.size != (IMAGE_SIZE, IMAGE_SIZE):
        small = small.resize((IMAGE_SIZE, IMAGE_SIZE), resample=4)  # box: the mean of the pixels under each
    pixels = np.asarray(small, float)
    saturation = pixels.max(axis=2) - pixels.min(axis=2)
    low, high = SATURATED
    mask = ((saturation - low) / (high - low)).clip(0, 1)
    area = float(mask.mean())
    ground = pixels[mask < PLAIN]
    away = float(abs(ground - BACKGROUNDS[scene.background]).mean()) if len(ground) else BACKGROUND_DISTANCE
    parts = dict.fromkeys(PARTS, 0.0)
    parts["background"] = falling(away, BACKGROUND_DISTANCE)
    if area < LEAST_AREA:
        return parts
    inside = mask[mask > 0.5] if (mask > 0.5).any() else mask[mask > 0]
    core = pixels[mask > 0.5] if (mask > 0.5).any() else pixels[mask > 0]
    colour = (core * inside[:, None]).sum(axis=0) / inside.sum()
    parts["colour"] = falling(float(np.linalg.norm(colour - COLOURS[scene.colour])), COLOUR_DISTANCE)
    x, y = centroid(mask)
    parts["centre"] = falling(float(np.hypot(x - 0.5, y - 0.5)), CENTRE_DISTANCE)
    good = float(shape_mask(scene.shape, 0.5, 0.5, GOOD_SIZE).mean())
    parts["size"] = min(area / good, good / area)
    overlap = overlap_with(scene, mask, area, good, (x, y))
    parts["shape"] = float(np.clip((overlap - OVERLAP[0]) / (OVERLAP[1] - OVERLAP[0]), 0, 1))
    return parts


def overlap_with(scene: Scene, mask: np.ndarray, area: float, good: float, middle: tuple[float, float]) -> float:
    """Intersection over union, in coverage, of `mask` and the scene's shape of the same area and centroid."""
    import numpy as np

    size = GOOD_SIZE * (area / good) ** 0.5
    # A triangle's centroid is below the middle that it is drawn around.
    x, y = centroid(shape_mask(scene.shape, 0.5, 0.5, GOOD_SIZE))
    scale = size / GOOD_SIZE
    ideal = shape_mask(scene.shape, middle[0] - (x - 0.5) * scale, middle[1] - (y - 0.5) * scale, size)
    return float(np.minimum(mask, ideal).sum() / np.maximum(mask, ideal).sum())


def centroid(mask: np.ndarray) -> tuple[float, float]:
    """Centre of mass (x, y) of a mask [H, W], in widths of the picture."""
    import numpy as np

    axis = (np.arange(len(mask)) + 0.5) / len(mask)
    return float((mask.sum(axis=0) @ axis) / mask.sum()), float((mask.sum(axis=1) @ axis) / mask.sum())


def falling(distance: float, reach: float) -> float:
    """1 at no distance, 0 from `reach` on, straight between."""
    return max(0.0, 1 - distance / reach)
