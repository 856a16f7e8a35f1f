"""The bundled image data sets, drawn when they are asked for: `bundled/shapes_preference` and `bundled/shapes`.

`bundled/shapes_preference` has the columns prompt, image_chosen (a good drawing) and image_rejected (the same caption with
one to three faults); `bundled/shapes` has prompt and image (good drawings only). Split "train" and split "test", whose
captions are held out. The same seed draws the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from .scenes import FAULTS, Scene, all_scenes, draw, draw_faults


if TYPE_CHECKING:
    import numpy as np

SHAPES_PREFERENCE = "bundled/shapes_preference"
SHAPES_WINNERS = "bundled/shapes"
IMAGE_DATASETS = (SHAPES_PREFERENCE, SHAPES_WINNERS)
SPLITS = ("train", "test")
# Pictures (or pairs) of each caption in a split.
PER_CAPTION = {"train": 12, "test": 4}


def load_shapes(name: str, split: str = "train", seed: int = 0) -> Any:
    """One split of a bundled image data set as a `datasets.Dataset` with `Image` columns.

    Raises `InputError` for a name or a split that there is not.
    """
    from datasets import Dataset, Features, Image, Value

    if name not in IMAGE_DATASETS:
        raise InputError(f"there is no bundled image data set {name!r}; choose one of {', '.join(IMAGE_DATASETS)}")
    if split not in SPLITS:
        raise InputError(f"{name}: there is no split {split!r}; present: {', '.join(SPLITS)}")
    rows = preference_rows(split, seed) if name == SHAPES_PREFERENCE else winner_rows(split, seed)
    columns = ("image_chosen", "image_rejected") if name == SHAPES_PREFERENCE else ("image",)
    features = Features({"prompt": Value("string"), **{column: Image() for column in columns}})
    return Dataset.from_list(list(rows), features=features)


def preference_rows(split: str, seed: int) -> Iterator[dict[str, Any]]:
    """Rows prompt, image_chosen, image_rejected."""
    rng = generator(SHAPES_PREFERENCE, split, seed)
    for scene in scenes_of(split, rng):
        faults = tuple(str(fault) for fault in rng.choice(FAULTS, rng.integers(1, 4), replace=False))
        chosen, rejected = to_image(draw(scene, rng)), to_image(draw(scene, rng, faults))
        yield {"prompt": scene.caption, "image_chosen": chosen, "image_rejected": rejected}


def winner_rows(split: str, seed: int) -> Iterator[dict[str, Any]]:
    """Rows prompt, image: good drawings only."""
    rng = generator(SHAPES_WINNERS, split, seed)
    for scene in scenes_of(split, rng):
        yield {"prompt": scene.caption, "image": to_image(draw(scene, rng))}


def mixed_pictures(count: int, fault_probability: float, seed: int) -> tuple[list[str], np.ndarray]:
    """Captions of the training split and pictures [count, H, W, 3] uint8 of mixed quality: what the bundled pipelines
    learn from before any alignment. Every fault comes with its own chance, so that good and bad ones occur."""
    import numpy as np

    rng = generator("mixed", "train", seed)
    scenes = all_scenes(held_out=False)
    chosen = [scenes[place] for place in rng.integers(0, len(scenes), count)]
    pictures = [draw(scene, rng, draw_faults(rng, fault_probability)) for scene in chosen]
    return [scene.caption for scene in chosen], np.stack(pictures)


def held_out_captions() -> list[str]:
    """The captions of the test split: no picture of them is in any training data."""
    return [scene.caption for scene in all_scenes(held_out=True)]


def scenes_of(split: str, rng: np.random.Generator) -> list[Scene]:
    """Every scene of a split as often as `PER_CAPTION` says, shuffled."""
    scenes = all_scenes(held_out=split == "test") * PER_CAPTION[split]
    return [scenes[place] for place in rng.permutation(len(scenes))]


def generator(name: str, split: str, seed: int) -> np.random.Generator:
    """A random stream of its own for each data set, split and seed."""
    import numpy as np

    return np.random.default_rng([seed, *f"{name}:{split}".encode()])


def to_image(picture: np.ndarray) -> Any:
    """Pixels [H, W, 3] uint8 as a PIL image."""
    from PIL import Image

    return Image.fromarray(picture)
