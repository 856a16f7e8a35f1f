"""The trained weights of a denoiser: a LoRA adapter on it, or all of it."""

from typing import Any

import torch


POLICY, REFERENCE = "policy", "reference"


def lora_config(model: Any, given: dict[str, Any], default_targets: tuple[str, ...]) -> Any:
    """The `peft.LoraConfig` of TRL's `ModelConfig`, None where everything is trained.

    Args:
        model: the `ModelConfig`.
        given: what the user set; without `lora_dropout` there is none, as in diffusers' own LoRA scripts.
        default_targets: where `lora_target_modules` is not given.
    """
    if not model.use_peft:
        return None
    from peft import LoraConfig

    targets = model.lora_target_modules or list(default_targets)
    return LoraConfig(
        r=model.lora_r,
        lora_alpha=model.lora_alpha,
        lora_dropout=model.lora_dropout if "lora_dropout" in given else 0.0,
        target_modules=targets,
        use_rslora=model.use_rslora,
        use_dora=model.use_dora,
    )


def prepare_denoiser(denoiser: Any, config: Any) -> None:
    """Make what is trained trainable, in float32: the new adapter `policy`, or every weight where `config` is None."""
    if config is None:
        denoiser.requires_grad_(True)
        return
    denoiser.requires_grad_(False)
    denoiser.add_adapter(config, POLICY)
    for parameter in denoiser.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def trainable(denoiser: Any) -> dict[str, torch.nn.Parameter]:
    """What is trained, by name."""
    return {name: parameter for name, parameter in denoiser.named_parameters() if parameter.requires_grad}


def snapshot(denoiser: Any) -> dict[str, torch.Tensor]:
    """A copy of what is trained, on the CPU."""
    return {
        name: parameter.detach().to("cpu", copy=True).contiguous() for name, parameter in trainable(denoiser).items()
    }


def load_trainable(denoiser: Any, weights: dict[str, torch.Tensor], source: str) -> None:
    """Put a snapshot back; `InputError` where it is one of other weights."""
    parameters = trainable(denoiser)
    require_same_names(set(parameters), set(weights), source)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def require_same_names(expected: set[str], found: set[str], source: str) -> None:
    """Raise `InputError` unless both name the same weights."""
    if expected != found:
        from ...errors import InputError

        differing = sorted(expected ^ found)
        raise InputError(
            f"{source} holds other weights than this run trains ({len(differing)} differ, e.g. {differing[0]}); "
            "resume with the LoRA settings it was written with."
        )


def is_lora(denoiser: Any) -> bool:
    """Whether an adapter is trained."""
    return POLICY in getattr(denoiser, "peft_config", {})


def save_lora(family: Any, denoiser: Any, folder: str) -> None:
    """Write the adapter as diffusers loads it: `pytorch_lora_weights.safetensors`, its scale among the metadata."""
    from peft import get_peft_model_state_dict

    name = family.denoiser_name
    weights = get_peft_model_state_dict(denoiser, adapter_name=POLICY)
    family.pipeline.save_lora_weights(
        folder,
        **{
            f"{name}_lora_layers": {key: value.detach().cpu().contiguous() for key, value in weights.items()},
            f"{name}_lora_adapter_metadata": denoiser.peft_config[POLICY].to_dict(),
        },
    )
