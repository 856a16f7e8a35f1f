"""What a trained model is saved as: a LoRA that diffusers loads, or a whole pipeline; and its model card."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from ...generation.image_sources import LORA_FILE
from .lora import is_lora, save_lora


def write_weights(trainer: Any, folder: str, is_checkpoint: bool) -> None:
    """Write the trained weights as diffusers loads them.

    A LoRA goes into `pytorch_lora_weights.safetensors`, in checkpoints too. All weights go into the folder of a whole
    pipeline, at the end only: a checkpoint holds them as `policy.safetensors`.
    """
    os.makedirs(folder, exist_ok=True)
    if is_lora(trainer.model):
        save_lora(trainer.family, trainer.model, folder)
    elif not is_checkpoint:
        trainer.family.pipeline.save_pretrained(folder)
    torch.save(trainer.args, os.path.join(folder, "training_args.bin"))


def publish_weights(checkpoint: str, folder: str) -> None:
    """Copy a checkpoint's LoRA to where a push takes it from; transformers copies the files whose names it knows."""
    source = os.path.join(checkpoint, LORA_FILE)
    if os.path.isfile(source):
        temporary = os.path.join(folder, f"{LORA_FILE}.tmp")
        shutil.copyfile(source, temporary)
        os.replace(temporary, os.path.join(folder, LORA_FILE))


def write_card(trainer: Any, folder: str) -> None:
    """Write the model card, whole or not at all."""
    from ...hub.diffusion_card import diffusion_card
    from ..run_facts import run_facts

    text = diffusion_card(
        run_facts(trainer),
        title=Path(folder).resolve().name,
        pipeline_class=type(trainer.family.pipeline).__name__,
        is_lora=is_lora(trainer.model),
        steps=trainer.state.global_step,
    )
    path = Path(folder, "README.md")
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
