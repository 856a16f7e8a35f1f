"""The bundled pipelines: `bundled/tiny-sd`, `bundled/tiny-sd-v` and `bundled/tiny-sd3`, made on first use and kept.

They are no files of the package: they are built from configuration, learn for about a minute from drawings of mixed quality,
and are stored in diffusers' format in `$ALIGNKIT_CACHE/pipelines` (default: `alignkit/pipelines` in the Hugging Face cache).
Importing this module imports neither torch nor diffusers.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...generation.images import require_diffusers


logger = logging.getLogger(__name__)

PREFIX = "bundled/"
PIPELINES = ("bundled/tiny-sd", "bundled/tiny-sd-v", "bundled/tiny-sd3")
AUTOENCODER = "shapes-vae"
# The files that decide what is built: a change in them names another folder of the cache.
AUTOENCODER_RECIPE = ("scenes.py", "shapes.py", "autoencoder.py", "stepping.py")
RECIPE = (*AUTOENCODER_RECIPE, "tokenizer.py", "architectures.py", "pretraining.py")
SEED = 0


def resolve_pipeline(name: str) -> str:
    """The local folder of a bundled pipeline, built now if it is not in the cache; any other name comes back unchanged.

    Raises `InputError` for another name that starts with `bundled/`, unless a local folder is called so, and where
    diffusers is not installed.
    """
    if not name.startswith(PREFIX) or Path(name).exists():
        return name
    if name not in PIPELINES:
        raise InputError(f"there is no bundled pipeline {name!r}; choose one of {', '.join(PIPELINES)}")
    require_diffusers()
    return str(cached(name.removeprefix(PREFIX), RECIPE, lambda folder: build(name).save_pretrained(folder)))


def untrained_pipeline(name: str, seed: int = SEED) -> Any:
    """A bundled pipeline with random weights, as tests want it: built in a fraction of a second."""
    import torch

    from .architectures import make_sd, make_sd3
    from .autoencoder import make_vae

    require_diffusers()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = make_vae()
        if name == "bundled/tiny-sd3":
            vae.register_to_config(shift_factor=0.0)
            return make_sd3(vae)
        return make_sd(vae, "v_prediction" if name == "bundled/tiny-sd-v" else "epsilon")


def build(name: str) -> Any:
    """Make and train a bundled pipeline."""
    import torch
    from diffusers import AutoencoderKL

    from .pretraining import train_sd, train_sd3

    pipeline = untrained_pipeline(name)
    vae = AutoencoderKL.from_pretrained(str(cached(AUTOENCODER, AUTOENCODER_RECIPE, build_autoencoder)))
    pipeline.vae.load_state_dict(vae.state_dict())
    pipeline.vae.register_to_config(scaling_factor=vae.config.scaling_factor, shift_factor=vae.config.shift_factor)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        (train_sd3 if name == "bundled/tiny-sd3" else train_sd)(pipeline, SEED)
    return pipeline


def build_autoencoder(folder: Path) -> None:
    """Train the autoencoder that all bundled pipelines share, and save it."""
    import torch

    from .autoencoder import make_vae, train_vae

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        vae = make_vae()
        train_vae(vae, SEED)
    vae.save_pretrained(folder)


def cached(name: str, recipe: tuple[str, ...], make: Callable[[Path], Any]) -> Path:
    """The folder of `name` in the cache; if it is not there, `make(folder)` fills a temporary one, which is then renamed.

    A second process waits for the first one's.
    """
    from filelock import FileLock

    folder = cache_root() / f"{name}-{fingerprint(recipe)}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        logger.warning("%s is built now, about a minute of one core; it is kept in %s", name, folder)
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)  # of a build that was killed
        make(unfinished)
        os.replace(unfinished, folder)
    return folder


def cache_root() -> Path:
    """`$ALIGNKIT_CACHE/pipelines`, or `alignkit/pipelines` in the Hugging Face cache."""
    from huggingface_hub import constants

    return Path(os.environ.get("ALIGNKIT_CACHE") or Path(constants.HF_HOME) / "alignkit") / "pipelines"


@cache
def fingerprint(recipe: tuple[str, ...]) -> str:
    """12 hex digits that change with the files of a recipe."""
    digest = hashlib.sha256()
    for name in recipe:
        digest.update((files(__package__) / name).read_bytes())
    return digest.hexdigest()[:12]
