"""The world of the bundled shapes: what a caption can say, and how it is drawn (numpy, 16 x 16 pixels, no files).

A picture is one coloured shape on a plain background. A good one shows what its caption says, large and in the middle; a
faulty one has the wrong colour, is small, lies off the centre or has a blotchy background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import InputError


if TYPE_CHECKING:
    import numpy as np

IMAGE_SIZE = 16
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 230),
    "yellow": (240, 210, 40),
    "purple": (160, 50, 190),
    "cyan": (60, 200, 220),
}
SHAPES = ("circle", "square", "triangle", "cross")
BACKGROUNDS = {"black": (12, 12, 12), "grey": (120, 120, 120), "white": (244, 244, 244)}
FAULTS = ("wrong_colour", "small", "off_centre", "blotchy")
# Half the width of a shape and of the picture's other measures, in widths of the picture.
GOOD_SIZE, SMALL_SIZE = 0.30, 0.16
SIZE_JITTER, CENTRE_JITTER = 0.02, 0.02
SHIFT = (0.16, 0.24)
BLOTCH = 45.0
BLOTCH_CELLS = 8
SUPERSAMPLING = 4


@dataclass(frozen=True)
class Scene:
    """What a caption says."""

    colour: str
    shape: str
    background: str

    @property
    def caption(self) -> str:
        return f"a {self.colour} {self.shape} on {self.background}"

    @property
    def held_out(self) -> bool:
        """Whether this pair of colour and shape is kept for evaluation: each colour misses one shape in training."""
        return tuple(COLOURS).index(self.colour) % len(SHAPES) == SHAPES.index(self.shape)


def all_scenes(held_out: bool) -> list[Scene]:
    """The scenes of the training split, or of the held-out one; no caption is in both."""
    scenes = [Scene(colour, shape, ground) for colour in COLOURS for shape in SHAPES for ground in BACKGROUNDS]
    return [scene for scene in scenes if scene.held_out is held_out]


def parse_caption(caption: str) -> Scene:
    """The scene of a caption: the colour, shape and background that it names, whatever words stand between.

    Raises `InputError` naming the caption where one is missing or named twice.
    """
    words = [word.strip(".,;:!?\"'") for word in caption.lower().split()]
    found = {}
    for kind, known in (("colour", COLOURS), ("shape", SHAPES), ("background", BACKGROUNDS)):
        named = [word for word in words if word in known]
        if len(named) != 1:
            problem = f"names the {kind}s {' and '.join(named)}" if named else f"names no {kind}"
            raise InputError(
                f"the caption {caption!r} {problem}; the bundled shapes need exactly one of {', '.join(known)}, as in "
                "'a red circle on black'"
            )
        found[kind] = named[0]
    return Scene(**found)


def shape_mask(shape: str, x: float, y: float, size: float, pixels: int = IMAGE_SIZE) -> np.ndarray:
    """Coverage [pixels, pixels] in [0, 1] of a shape with its middle at (x, y) and the half width `size`, all in widths of
    the picture; the edges are smooth (supersampled)."""
    import numpy as np

    fine = pixels * SUPERSAMPLING
    axis = (np.arange(fine) + 0.5) / fine
    across, down = (axis[None, :] - x) / size, (axis[:, None] - y) / size
    if shape == "circle":
        inside = across**2 + down**2 <= 1
    elif shape == "square":
        inside = np.maximum(abs(across), abs(down)) <= 0.88
    elif shape == "triangle":
        inside = (down <= 0.85) & (abs(across) <= (down + 1.05) / 1.9)
    elif shape == "cross":
        near, far = np.minimum(abs(across), abs(down)), np.maximum(abs(across), abs(down))
        inside = (far <= 1) & (near <= 0.34)
    else:
        raise ValueError(f"unknown shape {shape!r}")
    cells = inside.reshape(pixels, SUPERSAMPLING, pixels, SUPERSAMPLING)
    return cells.mean(axis=(1, 3))


def draw(scene: Scene, rng: np.random.Generator, faults: tuple[str, ...] = ()) -> np.ndarray:
    """One picture [IMAGE_SIZE, IMAGE_SIZE, 3] uint8 of a scene, with the named `FAULTS`; place and size vary a little."""
    import numpy as np

    size = (SMALL_SIZE if "small" in faults else GOOD_SIZE) + rng.uniform(-SIZE_JITTER, SIZE_JITTER)
    middle = 0.5 + rng.uniform(-CENTRE_JITTER, CENTRE_JITTER, 2)
    if "off_centre" in faults:
        middle += rng.uniform(*SHIFT, 2) * rng.choice([-1, 1], 2)
    colour = scene.colour
    if "wrong_colour" in faults:
        colour = str(rng.choice([name for name in COLOURS if name != scene.colour]))
    ground = np.broadcast_to(np.array(BACKGROUNDS[scene.background], float), (IMAGE_SIZE, IMAGE_SIZE, 3))
    if "blotchy" in faults:
        cell = IMAGE_SIZE // BLOTCH_CELLS
        spots = rng.uniform(-BLOTCH, BLOTCH, (BLOTCH_CELLS, BLOTCH_CELLS, 1))
        ground = ground + spots.repeat(cell, axis=0).repeat(cell, axis=1)
    mask = shape_mask(scene.shape, middle[0], middle[1], size)[..., None]
    picture = mask * np.array(COLOURS[colour], float) + (1 - mask) * ground
    return picture.clip(0, 255).round().astype(np.uint8)


def draw_faults(rng: np.random.Generator, probability: float) -> tuple[str, ...]:
    """Faults that come by chance, each with this probability and independent of the others."""
    return tuple(fault for fault in FAULTS if rng.random() < probability)
