"""Whether the estimate fits the device, and the one change that helps most."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from .census import ModelCensus
from .memory import GIB, MemoryEstimate, MemorySettings, estimate_memory
from .settings import Device


# Above this share of the device a step may still fail on fragmentation or on a batch of long rows.
_TIGHT = 0.85

Verdict = Literal["fits", "tight", "does not fit", "unknown"]


@dataclass(frozen=True)
class MemoryReport:
    """The estimate with its verdict; `suggestion` is empty where it fits or nothing is known of the device."""

    settings: MemorySettings
    estimate: MemoryEstimate
    device: Device
    verdict: Verdict
    suggestion: str


def judge_memory(census: ModelCensus, settings: MemorySettings, device: Device) -> MemoryReport:
    """Estimate one step and compare it with the device: fits up to 85 %, tight up to 100 %."""
    estimate = estimate_memory(census, settings)
    verdict: Verdict
    if device.capacity is None:
        verdict = "unknown"
    else:
        share = estimate.total / device.capacity
        verdict = "fits" if share <= _TIGHT else "tight" if share <= 1 else "does not fit"
    suggestion = _suggestion(census, settings, device, estimate.total) if verdict in ("tight", "does not fit") else ""
    return MemoryReport(settings, estimate, device, verdict, suggestion)


def _suggestion(census: ModelCensus, settings: MemorySettings, device: Device, total: float) -> str:
    """The mildest single change that makes the run fit; where none does, the one that saves most."""
    assert device.capacity is not None
    options = [(estimate_memory(census, changed).total, text) for text, changed in _changes(census, settings)]
    options = [(needed, text) for needed, text in options if needed < total]
    if not options:
        return "no single setting helps; use a smaller model or a larger device"
    for needed, text in options:
        if needed <= _TIGHT * device.capacity:
            return f"{text}: then about {needed / GIB:.3g} GiB"
    needed, text = min(options)
    return f"{text} saves most, but still needs about {needed / GIB:.3g} GiB; combine it with a smaller model or batch"


def _changes(census: ModelCensus, settings: MemorySettings) -> Iterator[tuple[str, MemorySettings]]:
    """Single changes, those that leave the result alone first, those that change the training last."""
    if not settings.gradient_checkpointing:
        yield "set gradient_checkpointing: true", replace(settings, gradient_checkpointing=True)
    if settings.reference == "second":
        yield "set precompute_ref_log_probs: true", replace(settings, reference="precomputed")
    if settings.pairs > 1:
        yield (
            f"set per_device_train_batch_size: 1 and multiply gradient_accumulation_steps by {settings.pairs}",
            replace(settings, pairs=1),
        )
    if settings.sharding != "fsdp" and settings.processes > 1:
        yield "shard with FSDP (an accelerate config)", replace(settings, sharding="fsdp")
    if settings.weight_bytes == 4:
        yield "set dtype: bfloat16", replace(settings, weight_bytes=2)
    if not settings.peft and settings.optimizer != "adamw_8bit":
        yield "set optim: adamw_8bit", replace(settings, optimizer="adamw_8bit")
    if not settings.peft and census.adapter is not None:
        yield "set use_peft: true (LoRA)", replace(settings, peft=True, reference="shared")
    if settings.quantisation == "none" and census.adapter is not None:
        quantised = replace(settings, peft=True, reference="shared", quantisation="4bit")
        yield "set use_peft: true and load_in_4bit: true (QLoRA)", quantised
    if settings.length > 512:
        yield f"halve max_length to {settings.length // 2}", replace(settings, length=settings.length // 2)
