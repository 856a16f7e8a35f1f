"""From a configured run to the settings of the memory estimate, and what the device at hand has."""

import os
from dataclasses import dataclass
from typing import Any

from .census import ModelCensus
from .memory import GIB, MemorySettings, Quantisation, Reference, Sharding


@dataclass(frozen=True)
class Device:
    """Where the run will happen: its kind, a name for the report, the bytes each process may use."""

    kind: str
    name: str
    capacity: float | None


def find_device(training: Any, processes: int, device_memory: float | None = None) -> Device:
    """Return the device of one process: the given memory in GiB of an accelerator, else this machine's own.

    On a CPU the processes of this machine share what memory is free now. Where this machine has no accelerator and the
    run has several processes, they will run elsewhere: the capacity is unknown (None).
    """
    if device_memory is not None:
        return Device("cuda", f"a device of {device_memory:g} GiB", device_memory * GIB)
    kind = training.device.type
    if kind == "cuda":
        import torch

        properties = torch.cuda.get_device_properties(training.device)
        return Device(kind, properties.name, float(properties.total_memory))
    import psutil

    if processes > training.world_size:
        return Device("cuda", "a device that this machine does not have", None)
    free = psutil.virtual_memory().available / processes
    return Device(kind, "the free memory of this machine", float(free))


def memory_settings(
    run: Any, census: ModelCensus, longest: int | None, processes: int, device: Device, sharding: Sharding | None
) -> MemorySettings:
    """Read the run's configs.

    Args:
        longest: the longest pair of the data set in tokens, where it is known; batches are padded no further.
        sharding: None takes that of the running launcher or the config.
    """
    training = run.training
    limits = [length for length in (training.max_length, longest) if length is not None]
    return MemorySettings(
        pairs=training.per_device_train_batch_size,
        length=min(limits) if limits else census.hidden,
        reference=_reference(run.model, training),
        **training_settings(run, census, processes, device, sharding),
    )


def training_settings(
    run: Any, census: ModelCensus, processes: int, device: Device, sharding: Sharding | None
) -> dict[str, Any]:
    """The fields of `MemorySettings` that do not depend on what a batch holds."""
    model, training = run.model, run.training
    return {
        "weight_bytes": _weight_bytes(model, training, census),
        "autocast": bool(training.bf16 or training.fp16),
        "quantisation": _quantisation(model),
        "peft": model.use_peft,
        "gradient_checkpointing": training.gradient_checkpointing,
        "optimizer": str(getattr(training.optim, "value", training.optim)),
        "sharding": _sharding(training) if sharding is None else sharding,
        "processes": processes,
        "device": device.kind,
        "eager_attention": model.attn_implementation == "eager",
    }


def _weight_bytes(model: Any, training: Any, census: ModelCensus) -> int:
    given = (training.model_init_kwargs or {}).get("dtype", model.dtype)
    name = census.dtype if given in (None, "auto") else str(given).removeprefix("torch.")
    return 2 if name in ("bfloat16", "float16") else 4


def _quantisation(model: Any) -> Quantisation:
    if model.load_in_4bit:
        return "4bit-double" if model.use_bnb_nested_quant else "4bit"
    return "8bit" if model.load_in_8bit else "none"


def _reference(model: Any, training: Any) -> Reference:
    if model.use_peft:
        return "shared"
    return "precomputed" if training.precompute_ref_log_probs else "second"


def _sharding(training: Any) -> Sharding:
    """How the launcher or the config shards: DeepSpeed's stage, FSDP, or not at all."""
    if training.deepspeed_plugin is not None:
        stages: dict[int, Sharding] = {1: "zero1", 2: "zero2", 3: "zero3"}
        return stages.get(training.deepspeed_plugin.zero_stage, "none")
    uses_fsdp = bool(training.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    return "fsdp" if uses_fsdp else "none"
