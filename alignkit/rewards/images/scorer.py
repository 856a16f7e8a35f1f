"""What scores images: one interface and a table of names; `load_scorer("clip:openai/clip-vit-base-patch32")`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import InputError


if TYPE_CHECKING:
    from PIL.Image import Image

SHAPES = "shapes"
SCORERS = {
    SHAPES: ("alignkit.rewards.images.shapes", "ShapesScorer"),
    "clip": ("alignkit.rewards.images.clip", "CLIPScorer"),
    "pickscore": ("alignkit.rewards.images.clip", "PickScorer"),
}


class ImageScorer(Protocol):
    """Scores images for their prompts; higher is better. `unit` says what the scores are."""

    unit: str

    def score(self, prompts: Sequence[str], images: Sequence[Image]) -> list[float]:
        """One score per image, for the prompt at the same place."""


def parse_scorer(spec: str) -> tuple[Any, str | None]:
    """Class and model of `NAME[:MODEL]`; raises `InputError` for a name that there is not."""
    name, _, model = spec.partition(":")
    if name not in SCORERS:
        near = difflib.get_close_matches(name, SCORERS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SCORERS)}"
        raise InputError(f"there is no image scorer {name!r}: {hint}")
    if name == SHAPES and model:
        raise InputError(f"the scorer is {spec!r}, but {SHAPES} is a rule and takes no model: write {SHAPES}")
    module, own = SCORERS[name]
    scorer_class = getattr(importlib.import_module(module), own)
    return scorer_class, None if name == SHAPES else model or scorer_class.default_model


def load_scorer(spec: str, device: str = "auto") -> ImageScorer:
    """The scorer of `NAME[:MODEL]`: `shapes`, `clip[:MODEL]` or `pickscore[:MODEL]`.

    Raises `InputError` for a name or a model that there is not.
    """
    scorer_class, model = parse_scorer(spec)
    return scorer_class() if model is None else scorer_class(model, device)


def scorer_identity(spec: str) -> list[str]:
    """What the scores of a scorer depend on, as JSON: its rule's version, or its model's commit or weights. Nothing is
    loaded. Raises `InputError` for a model that there is not."""
    from ...generation.sources import file_digest, hub_file, weight_files

    _, model = parse_scorer(spec)
    name = spec.partition(":")[0]
    if model is None:
        from .shapes import VERSION

        return [name, VERSION]
    folder = Path(model).expanduser()
    if folder.is_dir():
        return [name, *(file_digest(file).hex() for file in sorted(weight_files(folder)))]
    config = hub_file(model, "config.json")
    if config is None:
        raise InputError(
            f"the scorer model {model} is neither a folder here nor a model that the Hub or its local cache can give"
        )
    return [name, model, config.parent.name]


def check_prompts(spec: str, prompts: Sequence[str]) -> None:
    """Refuse a prompt that a scorer cannot judge: an empty one, or, for `shapes`, one that is no caption of theirs."""
    for index, prompt in enumerate(prompts):
        if not prompt.strip():
            raise InputError(f"prompt {index} (counting from 0) is empty; the scorer {spec} needs a text")
        if spec == SHAPES:
            from ...data.diffusion.scenes import parse_caption

            parse_caption(prompt)
