"""The arithmetic of online training: completions, generation batches, updates, as `trl.GRPOTrainer` does it."""

import math
from dataclasses import dataclass
from typing import Any

from ...errors import InputError


@dataclass(frozen=True)
class OnlinePlan:
    """Batch sizes in completions, steps in optimizer updates.

    Attributes:
        per_device: completions per process and forward pass.
        accumulation: forward passes per update.
        processes: data-parallel processes.
        num_generations: completions per prompt.
        steps_per_generation: forward passes of a process that a generation batch is split into.
        num_iterations: how often each of them is trained on.
        rows: prompts of the data set; None while streaming.
        generations_per_epoch, steps_per_epoch: None while streaming.
        total_steps, warmup_steps, epochs: of the whole run.
        save_every: updates between checkpoints; 0 where none is written by steps.
        saves: how checkpoints are written: `"steps"`, `"epoch"`, `"no"` or `"best"`.
    """

    per_device: int
    accumulation: int
    processes: int
    num_generations: int
    steps_per_generation: int
    num_iterations: int
    rows: int | None
    generations_per_epoch: int | None
    steps_per_epoch: int | None
    total_steps: int
    warmup_steps: int
    epochs: float
    save_every: int
    saves: str

    @property
    def per_update(self) -> int:
        """Completions that an update is computed from."""
        return self.per_device * self.accumulation * self.processes

    @property
    def per_generation(self) -> int:
        """Completions of a generation batch, all processes."""
        return self.per_device * self.steps_per_generation * self.processes

    @property
    def prompts(self) -> int:
        """Prompts of a generation batch."""
        return self.per_generation // self.num_generations

    @property
    def passes_per_generation(self) -> int:
        """Forward passes of a process between two generations."""
        return self.steps_per_generation * self.num_iterations

    @property
    def updates_per_generation(self) -> float:
        """Updates made with a generation batch; below 1 where an update needs several batches."""
        return self.passes_per_generation / self.accumulation

    @property
    def is_on_policy(self) -> bool:
        """Whether every completion is trained on by the very policy that generated it, so that all ratios are 1."""
        return self.accumulation % self.passes_per_generation == 0

    @property
    def generations(self) -> int:
        """Generation batches of the whole run."""
        return math.ceil(self.total_steps * self.accumulation / self.passes_per_generation)

    @property
    def unused_rows(self) -> int:
        """Rows that an epoch leaves out because they do not fill a generation batch."""
        return 0 if self.rows is None else self.rows % self.prompts

    @property
    def saves_within_generation(self) -> bool:
        """Whether a checkpoint falls between two updates of one generation batch, and must hold the rest of it."""
        return self.save_every > 0 and self.save_every * self.accumulation % self.passes_per_generation != 0


def online_plan(training: Any, rows: int | None, processes: int) -> OnlinePlan:
    """The arithmetic of `trl.GRPOTrainer` for `rows` prompts, under a configuration made for so many processes.

    generation batch    = per_device * steps_per_generation * processes completions
    generations / epoch = floor(rows / prompts of a generation batch)
    steps per epoch     = max(ceil(generations * steps_per_generation * num_iterations / accumulation), 1)
    total steps         = `max_steps` if set, else ceil(epochs * steps per epoch)

    Args:
        rows: prompts after filtering; None for a streamed data set, which needs `max_steps`.

    Raises `InputError` where the rows do not fill one generation batch.
    """
    per_device, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    steps, iterations = training.steps_per_generation, training.num_iterations
    prompts = per_device * steps * processes // training.num_generations
    generations, steps_per_epoch, epochs = None, None, math.nan
    if rows is None:
        if training.max_steps <= 0:
            raise InputError("a streamed data set has no length; set `max_steps` to the number of updates.")
        total = training.max_steps
    else:
        generations = rows // prompts
        if generations == 0:
            raise InputError(
                f"{rows} rows do not fill one generation batch of {prompts} prompts ({per_device} completions per "
                f"process x {steps} steps per generation x {processes} processes, {training.num_generations} per "
                "prompt); lower `per_device_train_batch_size` or `steps_per_generation`."
            )
        steps_per_epoch = max(math.ceil(generations * steps * iterations / accumulation), 1)
        whole = math.ceil(training.num_train_epochs * steps_per_epoch)
        total = training.max_steps if training.max_steps > 0 else whole
        epochs = total / steps_per_epoch
    saves = _name(training.save_strategy)
    return OnlinePlan(
        per_device=per_device,
        accumulation=accumulation,
        processes=processes,
        num_generations=training.num_generations,
        steps_per_generation=steps,
        num_iterations=iterations,
        rows=rows,
        generations_per_epoch=generations,
        steps_per_epoch=steps_per_epoch,
        total_steps=total,
        warmup_steps=training.get_warmup_steps(total),
        epochs=epochs,
        save_every=_every(training.save_steps, total) if saves == "steps" else 0,
        saves=saves,
    )


def _every(steps: float, total: int) -> int:
    """`save_steps` as a number of updates; below 1 it is a share of the run."""
    return math.ceil(steps * total) if steps < 1 else int(steps)


def _name(strategy: Any) -> str:
    return str(getattr(strategy, "value", strategy))
