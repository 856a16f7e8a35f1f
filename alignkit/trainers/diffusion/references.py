"""The reference model: never a second denoiser where an adapter will do."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .lora import POLICY, REFERENCE, is_lora, trainable


class Reference:
    """The reference of a trained denoiser; `active()` gives the module that computes it.

    Inside, the module is in evaluation mode and nothing has a gradient; afterwards the policy is what it was, its
    adapter active and its `requires_grad` set unchanged, whatever was raised.
    """

    def __init__(self, denoiser: Any):
        self.denoiser = denoiser

    @contextmanager
    def active(self) -> Iterator[Any]:
        """The reference as a module."""
        was_training = self.denoiser.training
        self.denoiser.eval()
        try:
            with torch.no_grad(), self._switched() as module:
                yield module
        finally:
            self.denoiser.train(was_training)

    @contextmanager
    def _switched(self) -> Iterator[Any]:
        raise NotImplementedError
        yield

    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Make it another checkpoint of the policy, given as `lora.snapshot` returns it."""
        raise NotImplementedError


class BaseModelReference(Reference):
    """The base model, with the policy's adapter switched off."""

    @contextmanager
    def _switched(self):
        self.denoiser.disable_adapters()
        try:
            yield self.denoiser
        finally:
            self.denoiser.enable_adapters()


class AdapterReference(Reference):
    """A second, frozen adapter on the same base."""

    def __init__(self, denoiser: Any):
        super().__init__(denoiser)
        # A parameter name of the policy -> the reference's parameter.
        policy_names = list(trainable(denoiser))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # the policy's, which stays
            denoiser.add_adapter(copy.deepcopy(denoiser.peft_config[POLICY]), REFERENCE)
        parameters = dict(denoiser.named_parameters())
        self.parameters = {name: parameters[name.replace(f".{POLICY}.", f".{REFERENCE}.")] for name in policy_names}
        denoiser.set_adapter(POLICY)  # `add_adapter` makes the new one active and trainable
        for parameter in self.parameters.values():
            parameter.requires_grad_(False)
            parameter.data = parameter.data.float()  # the precision of the policy's

    @contextmanager
    def _switched(self):
        self.denoiser.set_adapter(REFERENCE)
        try:
            yield self.denoiser
        finally:
            self.denoiser.set_adapter(POLICY)
            for parameter in self.parameters.values():
                parameter.requires_grad_(False)

    def load(self, weights):
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])


class CopyReference(Reference):
    """A frozen copy of the whole denoiser, for full fine-tuning."""

    def __init__(self, denoiser: Any):
        super().__init__(denoiser)
        self.copy = copy.deepcopy(denoiser).requires_grad_(False).eval()

    @contextmanager
    def _switched(self):
        yield self.copy.to(self.denoiser.device)

    def load(self, weights):
        parameters = dict(self.copy.named_parameters())
        with torch.no_grad():
            for name, value in weights.items():
                parameters[name].copy_(value)


def initial_reference(denoiser: Any) -> Reference:
    """The model that training began with."""
    return BaseModelReference(denoiser) if is_lora(denoiser) else CopyReference(denoiser)


def checkpoint_reference(denoiser: Any) -> Reference:
    """A reference that can become any checkpoint of the policy; the model that training began with at first."""
    return AdapterReference(denoiser) if is_lora(denoiser) else CopyReference(denoiser)
