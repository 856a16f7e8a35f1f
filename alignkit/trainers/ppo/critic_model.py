"""What a separate critic starts from: a language model, or a reward model with its score head."""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from trl.trainer.utils import disable_dropout_in_model

from ...data.bundled import resolve_model
from ...errors import InputError


FIELD = "critic_model_name_or_path"


def load_critic_model(trainer: Any, source: str) -> tuple[nn.Module, dict[str, torch.Tensor] | None]:
    """The backbone in float32 on the trainer's device, and the weights of its score head if it has a trained one.

    Float32, because updates of a critic's learning rate are lost in the 8 bits of a bfloat16 mantissa; the forward pass
    runs under the run's autocast.

    Raises `InputError` for a model that cannot be read, does not have one score, reads later tokens, or does not know the
    policy's tokens.
    """
    args = trainer.args
    arguments = critic_arguments(args, source)
    path = resolve_model(source)
    try:
        config = AutoConfig.from_pretrained(
            path, **{name: arguments[name] for name in ("revision",) if name in arguments}
        )
    except (OSError, ValueError) as error:
        raise InputError(f"`{FIELD}`: {source} cannot be read ({' '.join(str(error).split())}).") from None
    names = config.architectures or []
    is_classifier = any(name.endswith("ForSequenceClassification") for name in names)
    if is_classifier and config.num_labels != 1:
        raise InputError(f"`{FIELD}`: {source} has {config.num_labels} outputs; a critic has one.")
    known, needed = config.get_text_config().vocab_size, len(trainer._tokenizer)
    if known < needed:
        raise InputError(
            f"`{FIELD}`: {source} knows {known:,} tokens, the policy's tokenizer {needed:,}; the critic reads the policy's "
            "tokens, so take a model of the same family."
        )
    loader = AutoModelForSequenceClassification if is_classifier else AutoModel
    model = loader.from_pretrained(path, dtype=torch.float32, **arguments)
    score = None
    if is_classifier:
        if not isinstance(getattr(model, "score", None), nn.Linear):
            raise InputError(
                f"`{FIELD}`: {source} ({', '.join(names)}) is no decoder with a score head; an encoder reads later tokens, "
                "and no value of the text before a token can be had from it."
            )
        bias = torch.zeros(1) if model.score.bias is None else model.score.bias
        score = {"weight": model.score.weight.detach(), "bias": bias.detach()}
        model = model.base_model
    disable_dropout_in_model(model)
    model.to(trainer.accelerator.device)
    if args.gradient_checkpointing:
        model.gradient_checkpointing_enable(args.gradient_checkpointing_kwargs)
    return model.train(), score


def critic_arguments(args: Any, source: str) -> dict[str, Any]:
    """How the critic is loaded: as the policy, but in float32, unquantised, on one device, and at its own revision."""
    arguments = dict(args.model_init_kwargs or {})
    for name in ("quantization_config", "dtype", "torch_dtype", "device_map"):
        arguments.pop(name, None)
    if args.critic_model_name_or_path is not None:
        arguments.pop("revision", None)
        if args.critic_model_revision is not None:
            arguments["revision"] = args.critic_model_revision
    return {**arguments, "trust_remote_code": args.trust_remote_code}
