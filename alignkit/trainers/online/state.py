"""Exact resume of online training: where TRL stands in its generation batch, and the state of every part."""

import json
import os
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ...errors import InputError


STATE_FILE = "online_state.json"
TENSOR_FILE = "online_state.safetensors"
FORMAT = 1


def buffer_file(rank: int) -> str:
    """Name of the file that holds what is left of a process's generation batch."""
    return f"generation_buffer_{rank}"


class OnlineStateMixin:
    """Mixin for `trl.GRPOTrainer`: checkpoints hold what TRL leaves out.

    TRL keeps neither its step within the generation batch (`_step`) nor the batch itself (`_buffered_inputs`), so that a
    run resumed within one generates again, and at other steps than the uninterrupted run.
    """

    parts: dict[str, Any]
    args: Any
    accelerator: Any
    state: Any
    _step: int
    _buffered_inputs: list[dict[str, Any]] | None

    def _save_checkpoint(self, model, trial) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        folder = os.path.join(
            self._get_output_dir(trial),  # type: ignore[attr-defined]
            f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}",
        )
        if self._is_within_generation():
            assert self._buffered_inputs is not None
            save_buffer(self._buffered_inputs, os.path.join(folder, buffer_file(self.accelerator.process_index)))
        if self.args.should_save:
            tensors: dict[str, torch.Tensor] = {}
            state = {
                "format": FORMAT,
                "parts": {slot: choice.name for slot, choice in self.args.chosen_parts.items()},
                "num_processes": self.accelerator.num_processes,
                "step": self._step,
                "state": {slot: _split(part.state_dict(), slot, tensors) for slot, part in self.parts.items()},
            }
            save_file(tensors, os.path.join(folder, TENSOR_FILE))
            with open(os.path.join(folder, STATE_FILE), "w", encoding="utf-8") as file:
                json.dump(state, file, indent=1)
        self._save_more(folder)

    def _save_more(self, folder: str) -> None:
        """Write what a method keeps beside the parts into a checkpoint that is not finished yet; every process calls it."""

    def _load_optimizer_and_scheduler(self, checkpoint) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is None:
            return
        path = os.path.join(checkpoint, STATE_FILE)
        if not os.path.isfile(path):
            raise InputError(
                f"{checkpoint} has no {STATE_FILE}: it was not written by this trainer, or with `save_only_model`; "
                "start from it as a model (`model_name_or_path`) instead of resuming."
            )
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        parts = {slot: choice.name for slot, choice in self.args.chosen_parts.items()}
        if state["format"] != FORMAT or state["parts"] != parts:
            raise InputError(f"{checkpoint} was trained with the parts {state['parts']}, this run has {parts}.")
        if state["num_processes"] != self.accelerator.num_processes:
            raise InputError(
                f"{checkpoint} was written by {state['num_processes']} processes, this run has "
                f"{self.accelerator.num_processes}; its generation batches cannot be shared out otherwise."
            )
        tensors = load_file(os.path.join(checkpoint, TENSOR_FILE))
        for slot, part in self.parts.items():
            part.load_state_dict(_join(state["state"][slot], slot, tensors))
        self._step = state["step"]
        if self._is_within_generation():
            path = os.path.join(checkpoint, buffer_file(self.accelerator.process_index))
            self._buffered_inputs = load_buffer(path, self.accelerator.device)

    def _is_within_generation(self) -> bool:
        """Whether completions that were generated are still to be trained on."""
        return self._step % (self.args.steps_per_generation * self.args.num_iterations) != 0


def save_buffer(batches: list[dict[str, Any]], path: str) -> None:
    """Write a process's generation batch, `path`.safetensors with its tensors and `path`.json with the rest."""
    tensors: dict[str, torch.Tensor] = {}
    values = [_split(batch, str(index), tensors) for index, batch in enumerate(batches)]
    save_file(tensors, f"{path}.safetensors")
    with open(f"{path}.json", "w", encoding="utf-8") as file:
        json.dump(values, file)


def load_buffer(path: str, device: torch.device) -> list[dict[str, Any]]:
    """Read what `save_buffer` wrote."""
    try:
        tensors = {name: value.to(device) for name, value in load_file(f"{path}.safetensors").items()}
        with open(f"{path}.json", encoding="utf-8") as file:
            values = json.load(file)
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is missing: the checkpoint is not complete on this machine.") from None
    return [_join(batch, str(index), tensors) for index, batch in enumerate(values)]


def _split(values: dict[str, Any], prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Move the tensors of a mapping into `tensors`, under `prefix.name`; the rest is what JSON can hold."""
    plain = {}
    for name, value in values.items():
        if isinstance(value, torch.Tensor):
            tensors[f"{prefix}.{name}"] = value.detach().cpu().contiguous().clone()
        else:
            plain[name] = value
    return plain


def _join(plain: dict[str, Any], prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    own = {key.removeprefix(f"{prefix}."): value for key, value in tensors.items() if key.startswith(f"{prefix}.")}
    return {**plain, **own}
