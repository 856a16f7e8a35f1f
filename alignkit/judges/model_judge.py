"""What the judges made of a local model share: its source, its fingerprint, loading when first needed."""

import logging
from typing import Any

import numpy as np

from alignkit.errors import InputError
from alignkit.generation import LoadOptions, fingerprint_source, resolve_source

from .stats import JudgeStats


logger = logging.getLogger(__name__)


class LocalModel:
    """A model folder, adapter folder or Hub name that is loaded at its first use.

    Args:
        name: what the user wrote.
        options: dtype, device, 4-bit, base of an adapter, chat template, batch size. None: the defaults.
        max_length: longest sequence in tokens; None: what the model's configuration states. A longer one fails (NaN,
            kind "too_long"); nothing is cut silently.
    """

    def __init__(self, name: str, options: LoadOptions | None = None, max_length: int | None = None) -> None:
        if max_length is not None and max_length < 1:
            raise InputError(f"max_length is {max_length}: it must be at least 1")
        self.options = options or LoadOptions()
        self.source = resolve_source(name, base_model=self.options.base_model)
        self.max_length = max_length
        self._fingerprint: str | None = None
        self._loaded: Any = None

    def identity(self) -> dict[str, Any]:
        """The model (name, revision, hash of its files) and how it is loaded; not the batch size or the device."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint_source(self.source)
        return {
            "model": self.source.name,
            "base": self.source.base.name if self.source.base else None,
            "revision": self.source.revision,
            "files": self._fingerprint,
            "dtype": self.options.dtype,
            "load_in_4bit": self.options.load_in_4bit,
            "chat_template": self.options.chat_template,
            "max_length": self.max_length,
        }

    @property
    def is_loaded(self) -> bool:
        return self._loaded is not None

    def load(self, loader: Any) -> Any:
        """The loaded model: `loader(source, options)`, called once."""
        if self._loaded is None:
            logger.info("loading %s", self.source.name)
            self._loaded = loader(self.source, self.options)
        return self._loaded

    def unload(self) -> None:
        """Drop the model and give its memory back."""
        if self._loaded is None:
            return
        import torch

        self._loaded = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def fitting(self, sequences: list[list[int]], max_positions: int | None, stats: JudgeStats) -> list[int]:
        """Indices of the sequences that the model can read; the others are counted as failures by kind."""
        limit = self.max_length or max_positions
        fits = []
        for index, sequence in enumerate(sequences):
            if not sequence:
                stats.failures["empty"] += 1
            elif limit is not None and len(sequence) > limit:
                stats.failures["too_long"] += 1
            else:
                fits.append(index)
        return fits


def count_not_finite(values: np.ndarray, stats: JudgeStats) -> np.ndarray:
    """`values` with infinities as NaN; both are counted as failures of the kind "not_finite"."""
    bad = ~np.isfinite(values)
    if bad.any():
        stats.failures["not_finite"] += int(bad.sum())
    return np.where(bad, np.nan, values)
