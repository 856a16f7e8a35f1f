"""What a critic and further frozen models take of the memory, counted without loading them."""

import os
from dataclasses import dataclass, replace
from typing import Any

from ...data.bundled import resolve_model
from ...errors import InputError
from ..census import ModelCensus, count_model
from ..memory import StepSettings, activation_bytes
from ..model_source import one_line
from ..report import Report


# A critic is trained in float32 by AdamW: weight, gradient and two moments.
_BYTES = 4 + 4 + 8


@dataclass(frozen=True)
class CriticPlan:
    """A critic: its kind, its trained parameters, and the model that it is, where it is one of its own."""

    kind: str
    parameters: int
    census: ModelCensus | None = None

    @property
    def kept_bytes(self) -> float:
        """Weights, gradients and optimizer, whole on every process."""
        return float(_BYTES * self.parameters)

    def activation_bytes(self, census: ModelCensus, settings: StepSettings) -> float:
        """Activations of the critic's own forward pass; none where it reads the policy's."""
        if self.kind == "shared_head":
            return 0.0
        if self.census is None:
            return activation_bytes(census, settings)
        own = replace(settings, peft=False, weight_bytes=4, quantisation="none", sharding="none")
        return activation_bytes(self.census, own)


def critic_plan(run: Any, census: ModelCensus) -> CriticPlan | None:
    """The critic of a run on the model of `census`; None for a method without one.

    Raises `OSError` or `ValueError` where the model of a separate critic cannot be counted.
    """
    kind = getattr(run.training, "critic", None)
    if kind is None:
        return None
    head = census.hidden + 1
    if kind == "shared_head":
        return CriticPlan(kind, head)
    if kind == "adapter":
        return CriticPlan(kind, head + (0 if census.adapter is None else census.adapter.parameters))
    own, source = census, run.training.critic_model_name_or_path
    if source is not None:
        model = replace(run.model, use_peft=False, model_revision=run.training.critic_model_revision)
        own = count_model(resolve_model(source), model, run.training)
    return CriticPlan(kind, head + own.backbone_parameters, own)


def frozen_bytes(run: Any, census: ModelCensus, weight_bytes: int) -> float:
    """Bytes of the further frozen models: an adapter's own beside a LoRA policy, a model of the policy's size otherwise."""
    total = 0.0
    for source in run.training.frozen_models().values():
        weights = os.path.join(source or "", "adapter_model.safetensors")
        beside = run.model.use_peft and os.path.isfile(weights)
        total += os.path.getsize(weights) if beside else census.parameters * weight_bytes
    return total


def check_further_models(run: Any, report: Report) -> None:
    """Note as errors what a run names as critic or frozen model and is not there."""
    training = run.training
    named = dict(training.frozen_models())
    if getattr(training, "critic_model_name_or_path", None) is not None:
        named["critic_model_name_or_path"] = training.critic_model_name_or_path
    for name, source in named.items():
        if source is None:
            report.errors.append(f"`{name}` is missing: name a model folder, an adapter folder or a Hub name.")
            continue
        try:
            path = os.path.expanduser(resolve_model(source))
        except InputError as error:
            report.errors.append(one_line(error))
            continue
        if os.path.isdir(path):
            if not any(os.path.isfile(os.path.join(path, file)) for file in ("config.json", "adapter_config.json")):
                report.errors.append(f"`{name}` is {source!r}: the folder holds no model and no adapter.")
        elif source.startswith((".", "/", "~")) or source.count("/") > 1 or source.startswith("outputs/"):
            report.errors.append(f"`{name}` is {source!r}: there is no such folder; train that model first.")
    if getattr(training, "critic", None) == "adapter" and not run.model.use_peft:
        report.errors.append("critic 'adapter' is a second LoRA adapter: set `use_peft: true`.")
