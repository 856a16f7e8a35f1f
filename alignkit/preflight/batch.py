"""Which batch size is which: the arithmetic of one training run, as `transformers.Trainer` does it."""

import math
from dataclasses import dataclass
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class BatchPlan:
    """Batch sizes in pairs, steps in optimizer updates.

    Attributes:
        per_device: pairs per process and forward pass (each is two sequences: chosen and rejected).
        accumulation: forward passes per update.
        processes: data-parallel processes.
        effective: pairs per update, `per_device * accumulation * processes`.
        rows: pairs of the data set; None while streaming.
        steps_per_epoch: updates per epoch; None while streaming.
        total_steps, warmup_steps, epochs: of the whole run.
        last_batch: pairs of the smallest update of an epoch, below `effective` where the rows do not divide evenly.
    """

    per_device: int
    accumulation: int
    processes: int
    effective: int
    rows: int | None
    steps_per_epoch: int | None
    total_steps: int
    warmup_steps: int
    epochs: float
    last_batch: int | None


def batch_plan(training: Any, rows: int | None, world_size: int | None = None) -> BatchPlan:
    """Return the batch arithmetic of `transformers.Trainer` for `rows` training pairs.

    batches per process = ceil(ceil(rows / per_device) / processes)   (floor with `dataloader_drop_last`)
    steps per epoch     = max(ceil(batches per process / accumulation), 1)
    total steps         = `max_steps` if set, else ceil(epochs * steps per epoch)
    warm-up steps       = `warmup_steps` if at least 1, else ceil(total steps * `warmup_steps`)

    Args:
        training: the method's config.
        rows: pairs after filtering; None for a streamed data set, which needs `max_steps`.
        world_size: number of processes; None takes that of the running launcher.
    """
    processes = training.world_size if world_size is None else world_size
    if processes < 1:
        raise InputError(f"`--world-size` is {processes}; expected at least 1.")
    # One process drives several GPUs (DataParallel) only where no launcher was used.
    devices = max(1, training.n_gpu) if world_size is None else 1
    per_device, accumulation = training.per_device_train_batch_size * devices, training.gradient_accumulation_steps
    effective = per_device * accumulation * processes
    if rows is None:
        if training.max_steps <= 0:
            raise InputError("a streamed data set has no length; set `max_steps` to the number of updates.")
        total, steps_per_epoch, last, epochs = training.max_steps, None, None, math.nan
    else:
        divide = _floor_divide if training.dataloader_drop_last else _ceil_divide
        batches = divide(divide(rows, per_device), processes)
        if batches == 0:
            raise InputError(
                f"`dataloader_drop_last` is set and {rows} pairs do not fill one batch of {per_device} on each of "
                f"{processes} processes; lower `per_device_train_batch_size`."
            )
        steps_per_epoch = max(_ceil_divide(batches, accumulation), 1)
        total = (
            training.max_steps if training.max_steps > 0 else math.ceil(training.num_train_epochs * steps_per_epoch)
        )
        used = batches * per_device * processes if training.dataloader_drop_last else rows
        last = used - (steps_per_epoch - 1) * effective
        epochs = total / steps_per_epoch
    return BatchPlan(
        per_device=per_device,
        accumulation=accumulation,
        processes=processes,
        effective=effective,
        rows=rows,
        steps_per_epoch=steps_per_epoch,
        total_steps=total,
        warmup_steps=training.get_warmup_steps(total),
        epochs=epochs,
        last_batch=last,
    )


def _ceil_divide(a: int, b: int) -> int:
    return -(-a // b)


def _floor_divide(a: int, b: int) -> int:
    return a // b
