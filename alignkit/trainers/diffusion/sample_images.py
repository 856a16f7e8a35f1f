"""Sample images while training: a grid as PNG in `output_dir/samples`, and to the tracker."""

import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from .seeds import seed_of


FOLDER = "samples"


class SampleImages(TrainerCallback):
    """Samples before the first step, every `eval_steps` steps and at the end; the same seeds every time."""

    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            write_samples(self.trainer, 0)

    def on_step_end(self, args, state, control, **kwargs):
        every = args.eval_steps
        is_due = every and every >= 1 and state.global_step % int(every) == 0
        # Not `on_train_end`: there the trackers are closed already.
        if is_due or state.global_step == state.max_steps:
            write_samples(self.trainer, state.global_step)


def write_samples(trainer: Any, step: int) -> None:
    """Sample the trainer's prompts, write `samples/step-NNNNNN.png` and give it to the trackers; main process only."""
    if not trainer.sample_prompts or not trainer.accelerator.is_main_process:
        return
    from ...generation.image_grid import image_grid

    per_prompt = trainer.args.samples_per_prompt
    rows = []
    for index in range(len(trainer.sample_prompts)):
        seeds = [seed_of(trainer.args.seed, "sample image", index, copy) for copy in range(per_prompt)]
        conditions = {name: values[index : index + 1] for name, values in trainer.sample_conditions.items()}
        rows.append(trainer.sample_pictures(conditions, seeds))
    grid = image_grid(rows, trainer.sample_prompts)
    path = Path(trainer.args.output_dir, FOLDER, f"step-{step:06d}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    grid.save(temporary, format="PNG")
    os.replace(temporary, path)
    track(trainer.callback_handler.callbacks, grid, step)


def track(callbacks: list[Any], grid: Any, step: int) -> None:
    """Give an image to the callbacks of TensorBoard and Weights & Biases that are there."""
    import numpy as np

    for callback in callbacks:
        writer = getattr(callback, "tb_writer", None)
        if writer is not None:
            writer.add_image("samples", np.asarray(grid), step, dataformats="HWC")
        wandb = getattr(callback, "_wandb", None)
        if wandb is not None and getattr(wandb, "run", None) is not None:
            wandb.log({"samples": wandb.Image(grid), "train/global_step": step})
