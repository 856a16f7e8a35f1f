"""Images from a diffusers pipeline, with or without a LoRA: `ImageSampler.load(source).sample(prompts, seeds)`.

Every image has a generator of its own, seeded with its own seed, so that its noise depends neither on the batch it is in nor
on what was sampled before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from alignkit.errors import InputError

from .image_sources import ImageSource
from .prompts import first_line


if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ImageSampling:
    """How images are drawn; `height` and `width` in pixels, None: what the pipeline makes."""

    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if self.num_inference_steps < 1:
            raise InputError(f"num_inference_steps is {self.num_inference_steps}: it must be at least 1")
        if not self.guidance_scale >= 1:
            raise InputError(f"guidance_scale is {self.guidance_scale}: it must be at least 1 (1 is no guidance)")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def parts_left_out(index: dict[str, Any]) -> dict[str, Any]:
    """What `from_pretrained` must be told of a pipeline's `model_index.json`: parts that it was saved without (an SD3
    without its third text encoder), and no safety checker, whose black images would pass for the model's."""
    absent: dict[str, Any] = {
        name: None for name, part in index.items() if isinstance(part, (list, tuple)) and list(part) == [None, None]
    }
    if "safety_checker" in index:
        absent |= {"safety_checker": None, "requires_safety_checker": False}
    return absent


class ImageSampler:
    """A loaded pipeline that draws images.

    Args:
        pipeline: a text-to-image pipeline of diffusers.
        batch_size: images drawn at once.
    """

    def __init__(self, pipeline: Any, batch_size: int = 8) -> None:
        self.pipeline = pipeline
        self.batch_size = batch_size
        pipeline.set_progress_bar_config(disable=True)

    @classmethod
    def load(cls, source: ImageSource, dtype: str = "auto", device: str = "auto", batch_size: int = 8) -> ImageSampler:
        """Load the pipeline of a source and put its LoRA on.

        dtype auto is float32 on the CPU and float16 on an accelerator. Safety checkers are left out: what they black out
        would be scored as the model's image. Raises `InputError` where diffusers is missing or the files do not fit.
        """
        require_diffusers()
        import torch
        from diffusers import DiffusionPipeline

        from .transformers_backend import pick_device

        device = pick_device(device)
        if dtype == "auto":
            torch_dtype = torch.float32 if device == "cpu" else torch.float16
        else:
            torch_dtype = getattr(torch, dtype)
        try:
            index = DiffusionPipeline.load_config(source.path, revision=source.revision)
            pipeline = DiffusionPipeline.from_pretrained(
                source.path, revision=source.revision, dtype=torch_dtype, **parts_left_out(index)
            )
        except (OSError, ValueError) as error:
            raise InputError(
                f"the pipeline {source.base or source.name} cannot be loaded: {first_line(error)}"
            ) from error
        if source.lora is not None:
            try:
                pipeline.load_lora_weights(source.lora, revision=source.lora_revision)
            except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
                raise InputError(
                    f"the LoRA {source.name} does not fit the pipeline {source.base}: {first_line(error)}"
                ) from error
        return cls(pipeline.to(device), batch_size)

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: ImageSampling | None = None
    ) -> Iterator[Image]:
        """Yield one image for each prompt and seed, in order."""
        import torch

        sampling = sampling or ImageSampling()
        for start in range(0, len(prompts), self.batch_size):
            part = slice(start, start + self.batch_size)
            # Drawn on the CPU, so that the noise is the same on every device.
            generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds[part]]
            yield from self.pipeline(list(prompts[part]), generator=generators, **sampling.to_dict()).images


def require_diffusers() -> None:
    """Refuse image models where diffusers is not installed."""
    if find_spec("diffusers") is None:
        raise InputError('image models need diffusers, which is not installed: pip install "alignkit[diffusion]"')
