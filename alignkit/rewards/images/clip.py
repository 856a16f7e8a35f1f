"""CLIP models as scorers: the cosine of text and image (CLIP score), and PickScore, a CLIP model trained on preferences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...generation.prompts import first_line


if TYPE_CHECKING:
    from PIL.Image import Image

CLIP_MODEL = "openai/clip-vit-large-patch14"
PICKSCORE_MODEL = "yuvalkirstain/PickScore_v1"
# PickScore's repository holds no processor; its authors use that of the model that it was trained from.
PICKSCORE_PROCESSOR = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
BATCH_SIZE = 32


class CLIPScorer:
    """CLIP score (Hessel et al. 2021, arXiv 2104.08718, without its factor 2.5): 100 max(cos(text, image), 0)."""

    name = "clip"
    unit = "0 to 100"
    default_model = CLIP_MODEL

    def __init__(self, model: str | None = None, device: str = "auto") -> None:
        """Load `model`, a transformers `CLIPModel` of the Hub or a folder.

        Raises `InputError` where it cannot be loaded or is no CLIP model.
        """
        import torch

        self.model_name = model or self.default_model
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = device
        self.model, self.processor = load_clip(self.model_name, self.processor_names())
        self.model.to(device)

    def processor_names(self) -> list[str]:
        """Where the processor may be, in order."""
        return [self.model_name]

    def score(self, prompts: Sequence[str], images: Sequence[Image]) -> list[float]:
        """One score per image."""
        import torch

        scores: list[float] = []
        with torch.no_grad():
            for start in range(0, len(prompts), BATCH_SIZE):
                part = slice(start, start + BATCH_SIZE)
                texts, pictures = list(prompts[part]), [image.convert("RGB") for image in images[part]]
                inputs = self.processor(
                    text=texts, images=pictures, return_tensors="pt", padding=True, truncation=True
                ).to(self.device)
                output = self.model(**inputs)
                scores += self.scale((output.text_embeds * output.image_embeds).sum(dim=-1).float()).tolist()
        return scores

    def scale(self, cosines: Any) -> Any:
        """Scores [B] of the cosines [B]."""
        return 100 * cosines.clamp(min=0)


class PickScorer(CLIPScorer):
    """PickScore (Kirstain et al. 2023, arXiv 2305.01569, Eq. 1): exp(logit_scale) cos(text, image), about 20 to 22."""

    name = "pickscore"
    unit = "PickScore"
    default_model = PICKSCORE_MODEL

    def processor_names(self) -> list[str]:
        return [self.model_name, PICKSCORE_PROCESSOR]

    def scale(self, cosines: Any) -> Any:
        return self.model.logit_scale.exp().float() * cosines


def load_clip(name: str, processors: Sequence[str]) -> tuple[Any, Any]:
    """A CLIP model and the first processor that can be loaded."""
    from transformers import AutoConfig, CLIPModel, CLIPProcessor

    try:
        config = AutoConfig.from_pretrained(name)
        if config.model_type != "clip":
            raise InputError(f"the scorer model {name} is of type {config.model_type!r}; expected a CLIP model")
        model = CLIPModel.from_pretrained(name).eval()
    except OSError as error:
        raise InputError(
            f"the scorer model {name} is neither a folder here nor a model that the Hub or its local cache can give "
            f"({first_line(error)})"
        ) from error
    for place in processors:
        try:
            return model, CLIPProcessor.from_pretrained(place)
        except (OSError, ValueError):
            continue
    raise InputError(
        f"no processor (tokenizer and image processor) for the scorer model {name} in {' or '.join(processors)}"
    )
