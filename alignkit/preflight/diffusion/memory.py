"""A memory estimate of training a denoiser, part by part. Bytes, per device."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..memory import CUDA_CONTEXT, Parts, optimizer_bytes
from ..verdict import Change
from .activations import step_bytes
from .census import PipelineCensus


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings:
    """What of a run decides its memory.

    Attributes:
        images: per device and forward pass, two to an example.
        resolution: pixels of their sides.
        weight_bytes: of a frozen weight of denoiser and text encoders (4 or 2); the VAE is float32.
        autocast: whether the step computes in 16 bits.
        lora_rank, lora_targets: of the adapter; rank 0: every weight is trained.
        second_adapter: whether the reference is a second adapter (otherwise the base), where an adapter is trained.
        gradient_checkpointing: whether blocks are recomputed in the backward pass.
        ema: whether there is a moving average of the trained weights.
        text_on_device: whether the text encoders stay on the device after encoding.
        optimizer: value of `optim`.
        processes: data-parallel processes.
        device: `"cuda"`, `"cpu"` ...
    """

    images: int
    resolution: int
    weight_bytes: int
    autocast: bool
    lora_rank: int
    lora_targets: tuple[str, ...] | str
    second_adapter: bool
    gradient_checkpointing: bool
    ema: bool
    text_on_device: bool
    optimizer: str
    processes: int
    device: str


@dataclass(frozen=True)
class DiffusionEstimate(Parts):
    """Bytes per device by part; `total` is the estimated peak of a step."""

    denoiser: float
    text_encoders: float
    vae: float
    adapter: float
    gradients: float
    optimizer: float
    ema: float
    reference: float
    activations: float
    device_context: float


def estimate_diffusion_memory(census: PipelineCensus, settings: DiffusionSettings) -> DiffusionEstimate:
    """Return the estimated peak of one training step.

    Trained weights, their gradients, average and a second adapter are float32; gradients count twice where several
    processes exchange them in buckets. Full training keeps a second denoiser as the reference. The activations are those
    of one forward and backward pass of the policy, followed operation by operation on the `meta` device with fused
    attention; the reference's pass keeps less and is over before. Not counted: fragmentation, sampling, evaluation.
    """
    adapter = adapter_parameters(census, settings) if settings.lora_rank else 0
    trainable = adapter or census.denoiser_parameters
    weights = float(census.denoiser_parameters * (settings.weight_bytes if adapter else 4))
    return DiffusionEstimate(
        denoiser=weights,
        text_encoders=float(census.text_parameters * settings.weight_bytes) if settings.text_on_device else 0.0,
        vae=4.0 * census.vae_parameters,
        adapter=4.0 * adapter,
        gradients=4.0 * trainable * (2 if settings.processes > 1 else 1),
        optimizer=optimizer_bytes(settings.optimizer, trainable, 4),
        ema=4.0 * trainable if settings.ema else 0.0,
        reference=(4.0 * adapter if settings.second_adapter else 0.0) if adapter else weights,
        activations=float(activation_bytes(census, settings)),
        device_context=CUDA_CONTEXT if settings.device == "cuda" else 0.0,
    )


def adapter_parameters(census: PipelineCensus, settings: DiffusionSettings) -> int:
    """Weights of the adapter; `ValueError` where it fits no module."""
    denoiser = adapted(census, settings)
    return sum(value.numel() for value in denoiser.parameters() if value.requires_grad)


def activation_bytes(census: PipelineCensus, settings: DiffusionSettings) -> int:
    """Peak bytes that one forward and backward pass makes, and under autocast the 16-bit copy of float32 weights."""
    import torch

    from ...trainers.diffusion.families import family_class

    computed = torch.bfloat16 if settings.autocast else torch.float32
    denoiser = adapted(census, settings).train()
    for parameter in denoiser.parameters():
        parameter.data = parameter.data.to(computed)
    if settings.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    else:
        denoiser.disable_gradient_checkpointing()
    side = settings.resolution // census.vae_factor

    def meta(*shape: int):
        return torch.empty(settings.images, *shape, device="meta", dtype=computed)

    noised = meta(census.denoiser.config.in_channels, side, side)
    conditions = {name: meta(*shape) for name, shape in census.condition_sizes.items()}
    forward: Any = family_class(census.pipeline_class).forward
    copies = 2 * census.denoiser_parameters if settings.autocast and settings.weight_bytes == 4 else 0
    return step_bytes(forward, denoiser, noised, conditions) + copies


def adapted(census: PipelineCensus, settings: DiffusionSettings) -> Any:
    """A copy of the denoiser on the `meta` device with what is trained marked."""
    import copy

    import torch
    from peft import LoraConfig

    denoiser = copy.deepcopy(census.denoiser)
    if not settings.lora_rank:
        return denoiser.requires_grad_(True)
    denoiser.requires_grad_(False)
    targets = settings.lora_targets if isinstance(settings.lora_targets, str) else list(settings.lora_targets)
    with torch.device("meta"):
        denoiser.add_adapter(LoraConfig(r=settings.lora_rank, target_modules=targets), "policy")
    return denoiser


def memory_changes(
    census: PipelineCensus, settings: DiffusionSettings, default_targets: tuple[str, ...]
) -> Iterator[Change]:
    """Single changes that need less: those that leave the result alone first."""
    if not settings.gradient_checkpointing:
        yield "set gradient_checkpointing: true", replace(settings, gradient_checkpointing=True)
    if settings.images > 2:
        pairs = settings.images // 2
        yield (
            f"set per_device_train_batch_size: 1 and multiply gradient_accumulation_steps by {pairs}",
            replace(settings, images=2),
        )
    if settings.text_on_device:
        yield "set cache_latents: true", replace(settings, text_on_device=False)
    if settings.lora_rank and settings.weight_bytes == 4:
        yield "set dtype: bfloat16 and bf16: true", replace(settings, weight_bytes=2, autocast=True)
    if not settings.autocast:
        yield "set bf16: true", replace(settings, autocast=True)
    if not settings.lora_rank:
        yield "set use_peft: true (LoRA)", replace(settings, lora_rank=16, lora_targets=default_targets)
    if settings.resolution > 512:
        yield "set resolution: 512", replace(settings, resolution=512)


def memory_notes(settings: DiffusionSettings) -> dict[str, str]:
    """What each part was computed from."""
    precision = f"{8 * settings.weight_bytes}-bit"
    checkpointing = "" if settings.gradient_checkpointing else "out"
    if not settings.lora_rank:
        reference = "a second denoiser"
    else:
        reference = "a second adapter on the base" if settings.second_adapter else "the base without its adapter"
    return {
        "denoiser": precision if settings.lora_rank else "32-bit",
        "text_encoders": "on the device: `cache_latents` is off"
        if settings.text_on_device
        else "on the CPU once everything is encoded",
        "vae": "32-bit",
        "adapter": f"rank {settings.lora_rank}, 32-bit" if settings.lora_rank else "none: all weights are trained",
        "optimizer": settings.optimizer,
        "ema": "" if settings.ema else "none",
        "reference": reference,
        "activations": f"{settings.images} images of {settings.resolution} x {settings.resolution} pixels, with{checkpointing} "
        "gradient checkpointing",
    }
