"""Images for the diffusion trainers: loading and checks, the bundled shapes, the bundled pipelines."""

from .checks import check_images
from .loading import PREFERENCE_COLUMNS, WINNER_COLUMNS, load_images
from .pipelines import PIPELINES, resolve_pipeline, untrained_pipeline
from .shapes import IMAGE_DATASETS, held_out_captions, load_shapes


__all__ = [
    "IMAGE_DATASETS",
    "PIPELINES",
    "PREFERENCE_COLUMNS",
    "WINNER_COLUMNS",
    "check_images",
    "held_out_captions",
    "load_images",
    "load_shapes",
    "resolve_pipeline",
    "untrained_pipeline",
]
