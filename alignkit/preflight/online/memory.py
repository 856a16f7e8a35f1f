"""A memory estimate of online training: a training step, and the generation of a batch, which do not coincide."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..census import ModelCensus
from ..memory import MemoryEstimate, Reference, Sharding, StepSettings, estimate_memory
from ..settings import Device, training_settings
from ..verdict import Change, MemoryReport, checkpointing_change, judge_estimate, model_changes
from .batch import OnlinePlan
from .critic import CriticPlan, critic_plan, frozen_bytes


# Copies of the next-token scores that sampling holds at once: logits, their float32, probabilities, a filter's sort.
_SAMPLING_COPIES = 4

Engine = Literal["transformers", "vllm", "vllm-sleep", "server"]


@dataclass(frozen=True, kw_only=True)
class OnlineSettings(StepSettings):
    """What of an online run decides its memory; `length` is that of the longest prompt plus completion.

    Attributes:
        completions: completions per device and forward pass of training.
        generated: completions that a device generates at once.
        prompt_length, completion_length: the longest of each, in tokens.
        engine: what generates: the model itself, vLLM beside it (which may sleep while it trains), a vLLM server.
        engine_bytes: what vLLM takes of the device.
        reward_models: bytes of the reward models that TRL loads.
        critic: of the PPO methods; None without one.
        frozen_models: bytes of further frozen models.
    """

    completions: int
    generated: int
    prompt_length: int
    completion_length: int
    engine: Engine = "transformers"
    engine_bytes: float = 0.0
    reward_models: float = 0.0
    critic: CriticPlan | None = None
    frozen_models: float = 0.0

    @property
    def sequences(self) -> int:
        return self.completions

    @property
    def scored_tokens(self) -> int:
        # Where no Triton kernel compacts them, TRL's LM head computes the prompts too, and masks them afterwards.
        per_sequence = self.completion_length if self.device == "cuda" else max(self.length - 1, 1)
        return self.sequences * per_sequence


@dataclass(frozen=True)
class OnlineEstimate(MemoryEstimate):
    """Bytes per device by part. Training and generation take turns: `total` counts the larger of them."""

    reward_models: float
    generation: float
    critic: float = 0.0
    critic_activations: float = 0.0
    frozen_models: float = 0.0
    engine_stays: bool = False

    @property
    def total(self) -> float:
        parts = self.parts()
        turns = ("gradients", "activations", "logits", "critic_activations", "generation")
        resident = sum(size for name, size in parts.items() if name not in turns)
        # The critic's activations are gone before the policy's exist.
        training = self.gradients + max(self.activations + self.logits, self.critic_activations)
        if self.engine_stays:
            return resident + training + self.generation
        return resident + max(training, self.generation)

    def parts(self) -> dict[str, float]:
        """Parts by name, those of the PPO methods only where they are."""
        optional = ("critic", "critic_activations", "frozen_models")
        parts = {name: size for name, size in super().parts().items() if name != "engine_stays"}
        return {name: size for name, size in parts.items() if size or name not in optional}


def estimate_online(census: ModelCensus, settings: OnlineSettings) -> OnlineEstimate:
    """The estimated peak of a generation and the updates after it.

    Parts of the training step are those of `estimate_memory`, for `completions` sequences of `length` tokens. Not
    counted: the forward passes without gradient that score a generation batch, which are smaller than a training step.
    """
    step = estimate_memory(census, settings)
    return OnlineEstimate(
        **step.parts(),
        reward_models=settings.reward_models,
        generation=generation_bytes(census, settings),
        critic=0.0 if settings.critic is None else settings.critic.kept_bytes,
        critic_activations=0.0 if settings.critic is None else settings.critic.activation_bytes(census, settings),
        frozen_models=settings.frozen_models,
        engine_stays=settings.engine == "vllm",
    )


def key_value_bytes(census: ModelCensus, settings: OnlineSettings, length: int) -> float:
    """Bytes of the key-value cache: 2 * layers * key-value size per token, `generated` sequences of `length` tokens."""
    compute = 2 if settings.autocast else settings.weight_bytes
    return float(settings.generated * length * 2 * census.layers * census.key_value * compute)


def generation_bytes(census: ModelCensus, settings: OnlineSettings) -> float:
    """Bytes at the peak of generating a batch with the model itself; vLLM's share where it does it.

    Reading the prompts, all tokens at once: their cache, four tensors of the hidden size (embeddings, residual stream,
    its norm, the layer's input), and the intermediate products of one MLP, three or with an adapter four. Writing the
    last token: the whole cache, a part of one layer twice (it is copied as it grows), and the scores of the next token in
    several copies. The larger of the two. Sharded weights are gathered besides.
    """
    if settings.engine != "transformers":
        return settings.engine_bytes
    compute = 2 if settings.autocast else settings.weight_bytes
    prompt_tokens = settings.generated * settings.prompt_length
    products = 4 if settings.peft else 3
    layer = products * compute * census.intermediate + 4 * settings.weight_bytes * census.hidden
    reading = key_value_bytes(census, settings, settings.prompt_length) + prompt_tokens * layer
    cache = key_value_bytes(census, settings, settings.length)
    writing = cache * (1 + 1 / (2 * census.layers)) + settings.generated * census.vocabulary * 4 * _SAMPLING_COPIES
    return max(reading, writing)


def online_settings(
    run: Any,
    census: ModelCensus,
    plan: OnlinePlan,
    longest_prompt: int,
    device: Device,
    sharding: Sharding | None,
    reward_parameters: int,
) -> OnlineSettings:
    """Read the run's configs.

    Args:
        plan: batch sizes of the run.
        longest_prompt: in tokens, of the sampled rows.
        reward_parameters: parameters of the reward models that TRL loads.
    """
    training = run.training
    common = training_settings(run, census, plan.processes, device, sharding)
    engine, share = _engine(training, device)
    return OnlineSettings(
        length=longest_prompt + training.max_completion_length,
        prompt_length=longest_prompt,
        completion_length=training.max_completion_length,
        completions=plan.per_device,
        generated=plan.per_device * plan.steps_per_generation,
        reference=_reference(run.model, training),
        engine=engine,
        engine_bytes=share,
        reward_models=float(reward_parameters * common["weight_bytes"]),
        critic=critic_plan(run, census),
        frozen_models=frozen_bytes(run, census, common["weight_bytes"]),
        **common,
    )


def _engine(training: Any, device: Device) -> tuple[Engine, float]:
    if not training.use_vllm:
        return "transformers", 0.0
    if training.vllm_mode == "server":
        return "server", 0.0
    share = training.vllm_gpu_memory_utilization * (device.capacity or 0.0)
    return ("vllm-sleep" if training.vllm_enable_sleep_mode else "vllm"), share


def _reference(model: Any, training: Any) -> Reference:
    if not training.needs_reference:
        return "none"
    return "shared" if model.use_peft else "second"


def judge_online(census: ModelCensus, settings: OnlineSettings, device: Device) -> MemoryReport:
    """Estimate a generation and its updates, and compare them with the device."""
    changes = online_changes(census, settings)
    return judge_estimate(settings, device, changes, lambda changed: estimate_online(census, changed))


def online_changes(census: ModelCensus, settings: OnlineSettings) -> Iterator[Change]:
    """Single changes: those that leave the result alone first, then those that change it."""
    yield from checkpointing_change(settings)
    if settings.completions > 1:
        yield (
            "set per_device_train_batch_size: 1 and multiply gradient_accumulation_steps (and steps_per_generation, "
            f"where it is given) by {settings.completions}",
            replace(settings, completions=1),
        )
    if settings.engine == "vllm":
        yield "set vllm_enable_sleep_mode: true", replace(settings, engine="vllm-sleep")
    yield from model_changes(census, settings)
    if settings.engine == "transformers" and settings.generated > 1:
        half = settings.generated // 2
        completions = min(settings.completions, half)
        yield (
            f"halve the generation batch to {half} completions per process",
            replace(settings, generated=half, completions=completions),
        )
    if settings.completion_length > 256:
        half = settings.completion_length // 2
        shorter = replace(settings, completion_length=half, length=settings.prompt_length + half)
        yield f"halve max_completion_length to {half}", shorter
