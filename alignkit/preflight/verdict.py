"""Whether the estimate fits the device, and the one change that helps most."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from .census import ModelCensus
from .memory import GIB, MemorySettings, Reference, StepSettings, estimate_memory
from .settings import Device


# Above this share of the device a step may still fail on fragmentation or on a batch of long rows.
_TIGHT = 0.85

Verdict = Literal["fits", "tight", "does not fit", "unknown"]
# A single change of the configuration: what to write, and the settings that it gives.
Change = tuple[str, Any]


class Estimate(Protocol):
    """Bytes per device, of any kind of training."""

    @property
    def total(self) -> float:
        """The estimated peak of a step."""

    def parts(self) -> dict[str, float]:
        """What it is the sum of."""


@dataclass(frozen=True)
class MemoryReport:
    """The estimate with its verdict; `suggestion` is empty where it fits or nothing is known of the device."""

    settings: Any
    estimate: Estimate
    device: Device
    verdict: Verdict
    suggestion: str


def judge_memory(census: ModelCensus, settings: MemorySettings, device: Device) -> MemoryReport:
    """Estimate one step and compare it with the device: fits up to 85 %, tight up to 100 %."""
    changes = pair_changes(census, settings)
    return judge_estimate(settings, device, changes, lambda changed: estimate_memory(census, changed))


def judge_estimate(
    settings: Any, device: Device, changes: Iterable[Change], estimate_of: Callable[[Any], Estimate]
) -> MemoryReport:
    """The verdict on any kind of training: `estimate_of` its settings, against the device; `changes` if it needs one."""
    estimate = estimate_of(settings)
    verdict: Verdict
    if device.capacity is None:
        verdict = "unknown"
    else:
        share = estimate.total / device.capacity
        verdict = "fits" if share <= _TIGHT else "tight" if share <= 1 else "does not fit"
    suggestion = ""
    if verdict in ("tight", "does not fit"):
        options = [(estimate_of(changed).total, text) for text, changed in changes]
        suggestion = _suggestion(options, device, estimate.total)
    return MemoryReport(settings, estimate, device, verdict, suggestion)


def _suggestion(options: list[tuple[float, str]], device: Device, total: float) -> str:
    """The mildest single change that makes the run fit; where none does, the one that saves most."""
    assert device.capacity is not None
    options = [(needed, text) for needed, text in options if needed < total]
    if not options:
        return "no single setting helps; use a smaller model or a larger device"
    for needed, text in options:
        if needed <= _TIGHT * device.capacity:
            return f"{text}: then about {needed / GIB:.3g} GiB"
    needed, text = min(options)
    return f"{text} saves most, but still needs about {needed / GIB:.3g} GiB; combine it with a smaller model or batch"


def pair_changes(census: ModelCensus, settings: MemorySettings) -> Iterator[Change]:
    """Single changes of a training on pairs: those that leave the result alone first, then those that change it."""
    yield from checkpointing_change(settings)
    if settings.reference == "second":
        yield "set precompute_ref_log_probs: true", replace(settings, reference="precomputed")
    if settings.pairs > 1:
        yield (
            f"set per_device_train_batch_size: 1 and multiply gradient_accumulation_steps by {settings.pairs}",
            replace(settings, pairs=1),
        )
    yield from model_changes(census, settings)
    if settings.length > 512:
        yield f"halve max_length to {settings.length // 2}", replace(settings, length=settings.length // 2)


def checkpointing_change(settings: StepSettings) -> Iterator[Change]:
    """Recomputing activations, which changes nothing but the time."""
    if not settings.gradient_checkpointing:
        yield "set gradient_checkpointing: true", replace(settings, gradient_checkpointing=True)


def model_changes(census: ModelCensus, settings: StepSettings) -> Iterator[Change]:
    """Changes of how the model and its optimizer are kept, whatever a batch holds."""
    with_adapter: Reference = "shared" if settings.reference != "none" else "none"
    if settings.sharding != "fsdp" and settings.processes > 1:
        yield "shard with FSDP (an accelerate config)", replace(settings, sharding="fsdp")
    if settings.weight_bytes == 4:
        yield "set dtype: bfloat16", replace(settings, weight_bytes=2)
    if not settings.peft and settings.optimizer != "adamw_8bit":
        yield "set optim: adamw_8bit", replace(settings, optimizer="adamw_8bit")
    if not settings.peft and census.adapter is not None:
        yield "set use_peft: true (LoRA)", replace(settings, peft=True, reference=with_adapter)
    if settings.quantisation == "none" and census.adapter is not None:
        quantised = replace(settings, peft=True, reference=with_adapter, quantisation="4bit")
        yield "set use_peft: true and load_in_4bit: true (QLoRA)", quantised
