"""A memory estimate of one training step, part by part, from counts alone. Bytes, per device."""

import math
from dataclasses import dataclass
from typing import Literal

from .census import ModelCensus


GIB = 1024**3

# TRL's fused LM head projects tiles of 4096 tokens by 32768 vocabulary entries (trl.kernels.chunked_logprob,
# trl.trainer.utils), so that the [tokens, vocabulary] logits never exist.
_TILE_TOKENS, _TILE_VOCABULARY = 4096, 32768
# Without Triton a tile is folded in torch: about six float32 copies of it live at once in the backward pass.
_TORCH_FOLD_BYTES = 24

CUDA_CONTEXT = 0.6 * GIB

Quantisation = Literal["none", "8bit", "4bit", "4bit-double"]
Reference = Literal["none", "shared", "precomputed", "second"]
Sharding = Literal["none", "zero1", "zero2", "zero3", "fsdp"]

# Bytes of optimizer state per trainable parameter: (number of states, bytes of each; None is the parameter's dtype).
# 8-bit states carry a float32 scale per block of 256.
_OPTIMIZERS: dict[str, tuple[float, float | None]] = {
    "adamw_torch": (2, None),
    "adamw_torch_fused": (2, None),
    "adamw_anyprecision": (2, None),
    "adamw_torch_8bit": (2, 1 + 4 / 256),
    "adamw_torch_4bit": (2, 0.5 + 4 / 128),
    "adamw_bnb_8bit": (2, 1 + 4 / 256),
    "adamw_8bit": (2, 1 + 4 / 256),
    "paged_adamw_8bit": (2, 1 + 4 / 256),
    "paged_adamw_32bit": (2, 4),
    "lion_32bit": (1, 4),
    "lion_8bit": (1, 1 + 4 / 256),
    "paged_lion_32bit": (1, 4),
    "paged_lion_8bit": (1, 1 + 4 / 256),
    "rmsprop": (1, None),
    "rmsprop_bnb": (1, 4),
    "rmsprop_bnb_32bit": (1, 4),
    "rmsprop_bnb_8bit": (1, 1 + 4 / 256),
    "adagrad": (1, None),
    "adafactor": (0, None),  # one number per row and column of each matrix: well under a hundredth of the weights
    "sgd": (0, None),
}


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """What of a run decides the memory of a training step, whatever its sequences are.

    Attributes:
        length: tokens of a padded sequence.
        weight_bytes: bytes per weight that is not quantised (4 or 2).
        autocast: whether the step runs under 16-bit autocast.
        quantisation: of the linear layers.
        peft: whether only the adapter is trained.
        gradient_checkpointing: whether a layer's activations are recomputed in the backward pass.
        optimizer: value of `optim`.
        reference: `"shared"` (the base without its adapter), `"precomputed"` (columns), `"second"` (a second model) or
            `"none"`.
        sharding, processes: how the states are split, and over how many.
        device: `"cuda"`, `"cpu"` ...
        eager_attention: whether attention stores its [length, length] probabilities.
    """

    length: int
    weight_bytes: int
    autocast: bool
    quantisation: Quantisation
    peft: bool
    gradient_checkpointing: bool
    optimizer: str
    reference: Reference
    sharding: Sharding
    processes: int
    device: str
    eager_attention: bool = False

    @property
    def sequences(self) -> int:
        """Sequences per device and forward pass."""
        raise NotImplementedError

    @property
    def scored_tokens(self) -> int:
        """Tokens whose log-probability the LM head computes in a forward pass."""
        return self.sequences * max(self.length - 1, 1)


@dataclass(frozen=True, kw_only=True)
class MemorySettings(StepSettings):
    """The same of a training on pairs.

    Attributes:
        pairs: pairs per device and forward pass; each is two sequences.
    """

    pairs: int

    @property
    def sequences(self) -> int:
        return 2 * self.pairs


@dataclass(frozen=True)
class Parts:
    """Bytes per device, one field for each part of a step."""

    @property
    def total(self) -> float:
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class MemoryEstimate(Parts):
    """Bytes per device by part; `total` is the estimated peak of a step."""

    weights: float
    adapter: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    reference: float
    device_context: float


def optimizer_is_known(name: str) -> bool:
    """Whether the state size of this `optim` is tabulated; an unknown one is counted as AdamW."""
    return name in _OPTIMIZERS


def optimizer_bytes(name: str, parameters: int, parameter_bytes: int) -> float:
    """Bytes of the states that `optim` keeps for so many trained parameters of so many bytes; AdamW's where unknown."""
    states, state_bytes = _OPTIMIZERS.get(name, (2, None))
    return float(parameters * states * (parameter_bytes if state_bytes is None else state_bytes))


def estimate_memory(census: ModelCensus, settings: StepSettings) -> MemoryEstimate:
    """Return the estimated peak of one training step.

    weights     = quantised linear layers (`quantised_bytes`) + other weights * weight_bytes
    adapter     = adapter parameters * 4 (PEFT keeps them in float32), * 2 on a quantised base (TRL casts to bfloat16)
    gradients   = trainable parameters * their bytes (twice with plain DDP, whose buckets are a copy)
    optimizer   = trainable parameters * states * bytes of a state
    activations = see `activation_bytes`;  logits = see `logits_bytes`
    reference   = weights again for a second model, else 0

    ZeRO-1 divides the optimizer by the processes, ZeRO-2 also the gradients, ZeRO-3 and FSDP also weights and
    reference, of which one gathered layer stays whole. Not counted: fragmentation, evaluation, CPU offload.
    """
    weights = quantised_bytes(census, settings.quantisation, settings.weight_bytes)
    adapter_bytes = adapter_dtype_bytes(settings)
    trainable, trainable_bytes = census.parameters, settings.weight_bytes
    adapter = 0.0
    if settings.peft:
        assert census.adapter is not None
        trainable, trainable_bytes = census.adapter.parameters, adapter_bytes
        adapter = float(trainable * adapter_bytes)
    gradients = float(trainable * trainable_bytes)
    optimizer = optimizer_bytes(settings.optimizer, trainable, trainable_bytes)
    reference = weights if settings.reference == "second" else 0.0
    count = settings.processes
    if settings.sharding == "none" and count > 1:
        gradients *= 2
    if settings.sharding != "none":
        optimizer /= count
    if settings.sharding in ("zero2", "zero3", "fsdp"):
        gradients /= count
    if settings.sharding in ("zero3", "fsdp"):
        gathered = census.largest_layer / census.parameters * weights
        weights = weights / count + gathered * (1 - 1 / count)
        reference = reference / count
        adapter = adapter / count
    return MemoryEstimate(
        weights=weights,
        adapter=adapter,
        gradients=gradients,
        optimizer=optimizer,
        activations=activation_bytes(census, settings),
        logits=logits_bytes(census, settings),
        reference=reference,
        device_context=CUDA_CONTEXT if settings.device == "cuda" else 0.0,
    )


def quantised_bytes(census: ModelCensus, quantisation: Quantisation, weight_bytes: int) -> float:
    """Bytes of all weights: linear layers as bitsandbytes stores them, embeddings, norms and head in the model's dtype.

    4-bit: n/2 + 4 bytes of scale per block of 64, and a code table of 16 float32; with double quantisation the scales
    take 1 byte each plus 4 bytes per block of 256 of them, a float32 offset, and a table of 256 float32 (QLoRA, arXiv
    2305.14314, section 3). 8-bit (LLM.int8): n + 4 bytes per row.
    """
    if quantisation == "none":
        return float(census.parameters * weight_bytes)
    other = census.parameters - sum(rows * columns for rows, columns in census.linear_shapes)
    total = float(other * weight_bytes)
    for rows, columns in census.linear_shapes:
        blocks = math.ceil(rows * columns / 64)
        if quantisation == "8bit":
            total += rows * columns + 4 * rows
        elif quantisation == "4bit":
            total += math.ceil(rows * columns / 2) + 4 * blocks + 64
        else:
            total += math.ceil(rows * columns / 2) + blocks + 4 * math.ceil(blocks / 256) + 4 + 64 + 1024
    return total


def adapter_dtype_bytes(settings: StepSettings) -> int:
    """Bytes of an adapter weight: float32 from PEFT, bfloat16 on a quantised base (TRL, after QLoRA)."""
    return 4 if settings.quantisation == "none" else 2


def layer_activation_bytes(census: ModelCensus, settings: StepSettings) -> float:
    """Bytes that one decoder layer keeps per token for the backward pass (attention without stored probabilities).

    With c the bytes of the compute dtype, h, q, k, i the hidden, query, key-value and intermediate sizes:
    frozen layer = 8 h + 2 c (q + k) + 3 c i         (both norms in float32; rotary, attention, gated MLP)
    full training adds the inputs of norms and linear layers, 2 c h + 2 c h + c i; under autocast with float32 weights
    the norms stay in float32 (8 h) and each of five linear layers casts its own input (10 h). An adapter instead adds
    the inputs of its targets, cast where its dtype differs, and 4 r per target. Norms of queries and keys add
    (4 + 2 c)(q + k) in float32, 6 (q + k) in 16 bits.

    The coefficients are those of a Llama decoder layer in transformers 5 (a test counts them); other architectures
    differ, mostly by a third or less.
    """
    compute = 2 if settings.autocast else settings.weight_bytes
    hidden, intermediate = census.hidden, census.intermediate
    heads = census.attention + census.key_value
    kept: float = 8 * hidden + 2 * compute * heads + 3 * compute * intermediate
    if census.qk_norm:
        kept += (8 if compute == 4 else 6) * heads
    if not settings.peft:
        casts = settings.autocast and settings.weight_bytes == 4
        return kept + (18 if casts else 4 * compute) * hidden + compute * intermediate
    adapter = census.adapter
    assert adapter is not None
    if adapter_dtype_bytes(settings) == 4 and compute == 2:
        kept += (2 if settings.autocast else 4) * adapter.inputs_per_layer
    else:
        kept += compute * adapter.distinct_inputs_per_layer
    return kept + 4 * adapter.rank * adapter.targets_per_layer


def activation_bytes(census: ModelCensus, settings: StepSettings) -> float:
    """Bytes of activations at the peak: `tokens = sequences * length`, both sequences of a pair in one forward pass.

    without checkpointing: tokens * (layers + 1) * layer          (+1: the gradients of the layer at work)
    with checkpointing:    tokens * (layers * residual + 2 * layer)
    Autocast over float32 weights also keeps a 16-bit copy of the trained weights (of one layer where they are frozen
    and recomputed); eager attention keeps heads * length probabilities per token and layer.
    """
    tokens = settings.sequences * settings.length
    compute = 2 if settings.autocast else settings.weight_bytes
    layer = layer_activation_bytes(census, settings)
    if settings.eager_attention:
        layer += census.heads * settings.length * (4 + 2 * compute)
    if settings.gradient_checkpointing:
        total = tokens * (census.layers * census.hidden * settings.weight_bytes + 2 * layer)
    else:
        total = tokens * (census.layers + 1) * layer
    if settings.autocast and settings.weight_bytes == 4 and settings.quantisation == "none":
        recomputed = settings.peft and settings.gradient_checkpointing
        copied = census.largest_layer if recomputed else sum(rows * columns for rows, columns in census.linear_shapes)
        total += 2.0 * copied / (settings.processes if settings.sharding in ("zero3", "fsdp") else 1)
    return float(total)


def logits_bytes(census: ModelCensus, settings: StepSettings) -> float:
    """Bytes of TRL's fused LM head, which never holds all logits.

    One tile of min(tokens, 4096) x 32768 in the compute dtype (and its float32 copies where no Triton kernel folds it),
    the hidden states of all tokens and their float32 gradient, and the float32 gradient of a trained head.
    """
    tokens = settings.scored_tokens
    compute = 2 if settings.autocast else settings.weight_bytes
    tile_tokens = min(tokens, _TILE_TOKENS)
    total = tile_tokens * _TILE_VOCABULARY * compute + tokens * census.hidden * (compute + 4)
    if settings.device != "cuda":
        total += tile_tokens * min(census.vocabulary, _TILE_VOCABULARY) * _TORCH_FOLD_BYTES
    if not settings.peft:
        total += 4 * census.vocabulary * census.hidden
    return float(total)
