"""A moving average of what is trained: `diffusers.training_utils.EMAModel`, kept in checkpoints without pickle."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .lora import require_same_names, trainable


class TrainedEMA:
    """The average of a denoiser's trained weights; `applied()` puts it in their place for a while.

    The decay after n updates is min(decay, (1 + n) / (10 + n)), diffusers' rule.
    """

    def __init__(self, denoiser: Any, decay: float):
        from diffusers.training_utils import EMAModel

        self.denoiser = denoiser
        self.average = EMAModel(trainable(denoiser).values(), decay=decay)

    def update(self) -> None:
        """Take in the weights of another update."""
        self.average.step(trainable(self.denoiser).values())

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the denoiser has the averaged weights."""
        parameters = list(trainable(self.denoiser).values())
        self.average.store(parameters)
        self.average.copy_to(parameters)
        try:
            yield
        finally:
            self.average.restore(parameters)

    def save(self, path: str) -> None:
        """Write the averages and how many updates they have seen."""
        names = trainable(self.denoiser)
        tensors = {
            name: value.detach().cpu().contiguous()
            for name, value in zip(names, self.average.shadow_params, strict=True)
        }
        save_file(tensors, path, metadata={"updates": str(self.average.optimization_step)})

    def load(self, path: str) -> None:
        """Read what `save` wrote."""
        from safetensors import safe_open

        tensors, names = load_file(path), trainable(self.denoiser)
        require_same_names(set(names), set(tensors), path)
        with torch.no_grad():
            for name, value in zip(names, self.average.shadow_params, strict=True):
                value.copy_(tensors[name])
        with safe_open(path, "pt") as file:
            self.average.optimization_step = int(file.metadata()["updates"])
