"""Further models that a run reads and never trains: an adapter beside the policy's on one base, or a second model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import AutoPeftModelForCausalLM, PeftConfig
from torch import nn
from trl.models import prepare_deepspeed, prepare_fsdp
from trl.trainer.utils import add_fused_lm_head, create_model_from_path, use_adapter

from ..data.bundled import resolve_model
from ..errors import InputError


def is_adapter_folder(source: str) -> bool:
    """Whether `source` is a folder with a PEFT adapter."""
    return os.path.isfile(os.path.join(source, "adapter_config.json"))


def load_frozen_model(source: str, dtype: Any, device: Any, **head: Any) -> Any:
    """A model of its own in evaluation mode, an adapter merged into its base, with TRL's fused LM head (`**head`)."""
    path = resolve_model(source)
    if is_adapter_folder(path):
        model = AutoPeftModelForCausalLM.from_pretrained(path, dtype=dtype).merge_and_unload()
    else:
        model = create_model_from_path(path, dtype=dtype, device_map=None)
    add_fused_lm_head(model, **head)
    model.requires_grad_(False)
    return model.to(device).eval()


class FrozenModels:
    """The frozen models of a trainer by name; `open(name)` is a context with the model to read.

    An adapter on the policy's base lies beside the policy's adapter under its name, and takes no second base. The base
    itself is the policy with its adapters switched off. Anything else is loaded as a second model.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.adapters: dict[str, str | None] = {}  # name -> adapter of the policy; None is its base
        self.models: dict[str, Any] = {}

    def add(self, name: str, source: Any) -> None:
        """Take `source` (adapter folder, model folder, Hub name, name of an adapter of the policy, or a model).

        Raises `InputError` for a model that cannot be read or that has another vocabulary than the policy.
        """
        policy = self.trainer.accelerator.unwrap_model(self.trainer.model)
        known = getattr(policy, "peft_config", None)
        if isinstance(source, str) and known is not None and source in known:
            if source == policy.active_adapter:
                raise InputError(f"`{name}` is {source!r}, the adapter that is trained; name a frozen one.")
            self.adapters[name] = source
        elif isinstance(source, str) and known is not None and self._is_on_base(policy, source):
            policy.load_adapter(source, adapter_name=name, is_trainable=False)
            _without_dropout(policy, name)
            self.adapters[name] = name
        elif isinstance(source, str) and known is not None and resolve_model(source) == _base_of(policy):
            self.adapters[name] = None
        else:
            self.models[name] = self._second_model(name, source, policy)

    def _is_on_base(self, policy: Any, source: str) -> bool:
        """Whether `source` is an adapter on the policy's base."""
        if not is_adapter_folder(source):
            return False
        base = PeftConfig.from_pretrained(source).base_model_name_or_path
        return base is not None and _same_place(resolve_model(base), _base_of(policy))

    def _second_model(self, name: str, source: Any, policy: Any) -> Any:
        trainer = self.trainer
        head = {"temperature": trainer.temperature, "cast_lm_head_to_fp32": trainer.args.cast_lm_head_to_fp32}
        if isinstance(source, str):
            try:
                model = load_frozen_model(source, policy.dtype, trainer.accelerator.device, **head)
            except (OSError, ValueError) as error:
                raise InputError(f"`{name}`: {source} cannot be read ({' '.join(str(error).split())}).") from None
        else:
            model = source.requires_grad_(False).to(trainer.accelerator.device).eval()
            add_fused_lm_head(model.get_base_model() if hasattr(model, "peft_config") else model, **head)
        theirs, ours = (item.config.get_text_config().vocab_size for item in (model, policy))
        if theirs != ours:
            raise InputError(
                f"`{name}` has a vocabulary of {theirs:,} tokens and the policy one of {ours:,}; both must read the same "
                "tokens."
            )
        if trainer.is_deepspeed_enabled:
            return prepare_deepspeed(model, trainer.accelerator)
        if trainer.is_fsdp_enabled:
            return prepare_fsdp(model, trainer.accelerator)
        return trainer.accelerator.prepare_model(model, evaluation_mode=True)

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """Context with the model to read; the policy is as before afterwards."""
        if name in self.models:
            yield self.models[name]
            return
        policy = self.trainer.accelerator.unwrap_model(self.trainer.model)
        with use_adapter(policy, self.adapters[name]):
            yield policy


def _without_dropout(policy: Any, adapter: str) -> None:
    """Take the dropout out of an adapter, which would act whenever the policy is in training mode."""
    for module in policy.modules():
        layers = getattr(module, "lora_dropout", {})
        if adapter in layers:
            layers[adapter] = nn.Identity()


def _base_of(policy: Any) -> str:
    return policy.get_base_model().config._name_or_path


def _same_place(left: str, right: str) -> bool:
    """Whether two model names mean the same folder or Hub name."""
    if os.path.isdir(left) and os.path.isdir(right):
        return os.path.samefile(left, right)
    return left == right
