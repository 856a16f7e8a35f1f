"""What checkpoints hold beside the optimizer: the trained weights, their average, the generators, the method's state."""

import json
import os
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ...errors import InputError
from .lora import load_trainable, snapshot


WEIGHTS_FILE = "policy.safetensors"
EMA_FILE = "ema.safetensors"
STATE_FILE = "diffusion_state.json"


def generators_file(rank: int) -> str:
    """Name of the file with a process's generators."""
    return f"generators_{rank}.safetensors"


class DiffusionStateMixin:
    """Mixin for `transformers.Trainer`: checkpoints from which training goes on exactly."""

    args: Any
    accelerator: Any
    state: Any
    model: Any
    method_key: str
    ema: Any
    generators: dict[str, torch.Generator]

    def method_state(self) -> dict[str, Any]:
        """What a method keeps, as JSON; every process has the same."""
        return {}

    def save_method_files(self, folder: str) -> None:
        """Write what a method keeps beside it into a checkpoint; the main process calls it."""

    def load_method_state(self, state: dict[str, Any], folder: str) -> None:
        """Go on from what `method_state` and `save_method_files` wrote; every process calls it."""

    def _save_checkpoint(self, model, trial) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        folder = os.path.join(
            self._get_output_dir(trial),  # type: ignore[attr-defined]
            f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}",
        )
        states = {name: generator.get_state() for name, generator in self.generators.items()}
        save_file(states, os.path.join(folder, generators_file(self.accelerator.process_index)))
        if self.args.should_save:
            save_file(snapshot(self.model), os.path.join(folder, WEIGHTS_FILE))
            if self.ema is not None:
                self.ema.save(os.path.join(folder, EMA_FILE))
            self.save_method_files(folder)
            content = {
                "method": self.method_key,
                "num_processes": self.accelerator.num_processes,
                "state": self.method_state(),
            }
            with open(os.path.join(folder, STATE_FILE), "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None) -> None:
        folder = str(resume_from_checkpoint)
        content = self._read_state(folder)
        self._load_weights(folder)
        path = os.path.join(folder, generators_file(self.accelerator.process_index))
        for name, state in load_file(path).items():
            self.generators[name].set_state(state)
        self.load_method_state(content["state"], folder)

    def _load_best_model(self) -> None:
        self._load_weights(self.state.best_model_checkpoint)

    def _load_weights(self, folder: str) -> None:
        path = os.path.join(folder, WEIGHTS_FILE)
        load_trainable(self.model, load_file(path), path)
        if self.ema is not None:
            average = os.path.join(folder, EMA_FILE)
            if not os.path.isfile(average):
                raise InputError(f"{folder} holds no {EMA_FILE}: it was written without `ema_decay`; leave that out.")
            self.ema.load(average)

    def _read_state(self, folder: str) -> dict[str, Any]:
        try:
            with open(os.path.join(folder, STATE_FILE), encoding="utf-8") as file:
                content = json.load(file)
        except FileNotFoundError:
            raise InputError(
                f"{folder} has no {STATE_FILE}: it is no checkpoint of a diffusion trainer that can be resumed."
            ) from None
        if content["method"] != self.method_key:
            raise InputError(f"{folder} was written by the method {content['method']}, this run is {self.method_key}.")
        if content["num_processes"] != self.accelerator.num_processes:
            raise InputError(
                f"{folder} was written by {content['num_processes']} processes, this run has "
                f"{self.accelerator.num_processes}; resume with as many."
            )
        return content
