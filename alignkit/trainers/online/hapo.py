"""HAPO: Heterogeneous Adaptive Policy Optimization (arXiv 2509.16591)."""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from ...catalog import get
from ...errors import InputError
from ...objectives.sampling import hapo_temperature
from ...parts.policy_losses.hapo import HAPOLossConfig
from .base import OnlineTrainer
from .config import OnlineConfig


@dataclass
class HAPOConfig(OnlineConfig, HAPOLossConfig):
    """Configuration of [`HAPOTrainer`]: that of [`OnlineConfig`], the settings of the loss part `hapo`, and the sampling.

    Parameters:
        adaptive_temperature (`bool`, *optional*, defaults to `True`):
            Whether uncertain tokens are sampled at a higher temperature than certain ones (A).
        tau (`float`, *optional*, defaults to `0.1`):
            Strength of that.
        epsilon_high (`float`, *optional*, defaults to `0.28`):
            Base of the upper clip range.

    Raises:
        InputError: for `adaptive_temperature` with vLLM or continuous batching, which take no sampler of ours.
    """

    adaptive_temperature: bool = field(
        default=True,
        metadata={
            "help": "Whether uncertain tokens are sampled at a higher temperature than certain ones, in training. Needs "
            "generation by transformers."
        },
    )
    tau: float = field(
        default=0.1, metadata={"help": "Strength of the adaptive temperature. Valid: finite, at least 0."}
    )
    epsilon_high: float | None = field(
        default=0.28, metadata={"help": "Base of the upper clip range. Valid: above 0; none takes `epsilon`."}
    )

    preset: ClassVar[dict[str, str]] = {"advantage": "hapo", "policy_loss": "hapo"}

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.tau < math.inf:
            raise InputError(f"`tau` is {self.tau!r}; valid range: [0, inf).")
        for name in ("use_vllm", "use_transformers_continuous_batching"):
            if self.adaptive_temperature and getattr(self, name):
                raise InputError(
                    f"`{name}` does not go with `adaptive_temperature`, which needs generation by transformers; set "
                    "`adaptive_temperature: false` to train with the rest of hapo."
                )


class HAPOTrainer(OnlineTrainer):
    """GRPO in which the entropy of each token sets its temperature, its advantage and its clip range.

    Arguments are those of [`OnlineTrainer`]. The log-probabilities of the ratio stay those of the fixed temperature, as
    in the released code: the ratio does not correct for the adaptive one.
    """

    _tag_names = ["alignkit", "trl", "hapo"]
    _name = "HAPO"
    _paper = get("hapo").paper
    method_key = "hapo"

    args: HAPOConfig

    def __init__(self, model, reward_funcs=None, args: HAPOConfig | None = None, **kwargs):
        args = HAPOConfig(output_dir="outputs/hapo") if args is None else args
        if args.adaptive_temperature and kwargs.get("rollout_func") is not None:
            raise InputError("A `rollout_func` generates by itself; set `adaptive_temperature: false` beside it.")
        super().__init__(model, reward_funcs, args, **kwargs)

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        generate = functools.partial(super()._generate_single_turn, prompt_ids, *args, **kwargs)
        if not (self.args.adaptive_temperature and self.model.training):
            return generate()
        statistics = self.parts["policy_loss"].close_generation_batch()
        if statistics is None:  # the first batch of a run is sampled at the base temperature
            return generate()
        center, scale = statistics
        sampler = EntropyTemperature(center, scale, self.args.temperature, self.args.tau)
        with logits_processor(self.accelerator.unwrap_model(self.model_wrapped), sampler):
            result = generate()
        lengths = torch.tensor([len(ids) for ids in result[0]])
        temperatures = torch.stack(sampler.temperatures, dim=1).cpu()
        written = torch.arange(temperatures.shape[1]) < lengths[:, None]
        self._log_part_metrics({"hapo/temperature_mean": temperatures[written].mean().item()})
        return result


class EntropyTemperature(LogitsProcessor):
    """Sampling temperature of each token from its entropy (Eq. 8), before the base temperature, top-k and top-p.

    Args:
        center, scale: statistics of log H over the previous batch.
        base_temperature: which generation divides the logits by afterwards.
        tau: strength.

    Attributes:
        temperatures: for each generated token of the batch, [n] temperatures.
    """

    def __init__(self, center: float, scale: float, base_temperature: float, tau: float) -> None:
        self.center, self.scale, self.base_temperature, self.tau = center, scale, base_temperature, tau
        self.temperatures: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        entropies = torch.special.entr((scores / self.base_temperature).softmax(dim=-1)).sum(dim=-1)
        temperatures = hapo_temperature(entropies, self.center, self.scale, self.base_temperature, self.tau)
        self.temperatures.append(temperatures)
        return scores * (self.base_temperature / temperatures)[:, None]


@contextmanager
def logits_processor(model: Any, processor: LogitsProcessor) -> Iterator[None]:
    """Let `model.generate` use a logits processor, which TRL's call of it has no place for."""
    model.generate = functools.partial(model.generate, logits_processor=LogitsProcessorList([processor]))
    try:
        yield
    finally:
        del model.generate  # the method of the class again
