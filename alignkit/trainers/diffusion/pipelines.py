"""Loading a pipeline by name: of the Hub, a local folder, or a bundled one."""

import os
from typing import Any

from ...data.diffusion import resolve_pipeline
from ...errors import InputError
from ...generation.images import parts_left_out, require_diffusers
from ...generation.prompts import first_line


def local_name(name: str | None) -> str:
    """`name` as diffusers can load it: a bundled pipeline's folder, any other name unchanged."""
    if not name:
        raise InputError(
            "`model_name_or_path` is missing: name a diffusers pipeline, its folder or `bundled/tiny-sd`."
        )
    return resolve_pipeline(name)


def pipeline_index(name: str, revision: str | None = None) -> dict[str, Any]:
    """The content of a pipeline's `model_index.json`: its class and the classes of its parts. No weight is read."""
    require_diffusers()
    from diffusers import DiffusionPipeline

    if os.path.isdir(name) and not os.path.isfile(os.path.join(name, "model_index.json")):
        raise InputError(f"{name}: the folder holds no `model_index.json`; name the folder of a whole pipeline.")
    try:
        return dict(DiffusionPipeline.load_config(name, revision=revision))
    except OSError as error:
        raise InputError(f"the pipeline {name!r} cannot be found: {first_line(error)}") from error


def load_pipeline(
    name: str, revision: str | None = None, variant: str | None = None, dtype: str | None = "float32"
) -> Any:
    """Load a pipeline that can be trained.

    Args:
        name: a name of the Hub or a local folder.
        revision: branch, tag or commit of the Hub.
        variant: of the weight files, e.g. `"fp16"`.
        dtype: of the weights, `"float32"`, `"bfloat16"` or `"float16"`.

    Raises:
        InputError: where it cannot be found or loaded, or is of a class that cannot be trained.
    """
    import torch
    from diffusers import DiffusionPipeline

    from .families import family_class

    index = pipeline_index(name, revision)
    family_class(index["_class_name"])
    options = parts_left_out(index)
    weights = torch.float32 if dtype in (None, "auto") else getattr(torch, dtype)
    try:
        return DiffusionPipeline.from_pretrained(name, revision=revision, variant=variant, dtype=weights, **options)
    except (OSError, ValueError) as error:
        raise InputError(f"the pipeline {name!r} cannot be loaded: {first_line(error)}") from error
