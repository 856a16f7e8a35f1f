"""Parameters and shapes of a model, counted on the `meta` device from its configuration: no weight is loaded."""

from dataclasses import dataclass
from typing import Any


_ATTENTION_OUTPUT = (".o_proj", ".out_proj")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on a model.

    Attributes:
        parameters: trainable parameters, exactly those of PEFT.
        rank: r.
        targets_per_layer: adapted modules per decoder layer.
        inputs_per_layer: sum of their input sizes per layer.
        distinct_inputs_per_layer: the same, inputs that several modules share counted once, and without that of the
            attention's output projection, which attention itself keeps.
    """

    parameters: int
    rank: int
    targets_per_layer: float
    inputs_per_layer: float
    distinct_inputs_per_layer: float


@dataclass(frozen=True)
class ModelCensus:
    """What the memory formulas need to know of a model.

    Attributes:
        parameters: all parameters, tied ones once.
        backbone_parameters: those without an output head of its own.
        linear_shapes: (rows, columns) of the weights that bitsandbytes would quantise.
        layers, hidden, attention, key_value, intermediate, heads, vocabulary: sizes; `attention` and `key_value` are
            heads times head size, `intermediate` counts the experts that one token passes.
        largest_layer: parameters of the largest decoder layer.
        qk_norm: whether queries and keys are normalised.
        dtype: name of the dtype that the checkpoint declares.
        adapter: of the configured LoRA, None where it fits no module.
    """

    parameters: int
    backbone_parameters: int
    linear_shapes: tuple[tuple[int, int], ...]
    layers: int
    hidden: int
    attention: int
    key_value: int
    intermediate: int
    heads: int
    vocabulary: int
    largest_layer: int
    qk_norm: bool
    dtype: str
    adapter: Adapter | None


def count_model(path: str, model: Any, training: Any) -> ModelCensus:
    """Count the model at `path` as configured by TRL's `ModelConfig` `model`.

    Raises `OSError` when the configuration is not reachable, `ValueError` when a configured adapter does not fit.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    trust = getattr(training, "trust_remote_code", False)
    config = AutoConfig.from_pretrained(path, revision=model.model_revision, trust_remote_code=trust)
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    network.tie_weights()
    text = config.get_text_config()
    heads = text.num_attention_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    key_value_heads = getattr(text, "num_key_value_heads", None) or heads
    blocks = _decoder_layers(network, text.num_hidden_layers)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return ModelCensus(
        parameters=parameters,
        backbone_parameters=sum(item.numel() for item in network.base_model.parameters()),
        linear_shapes=_quantisable(network),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        attention=heads * head_size,
        key_value=key_value_heads * head_size,
        intermediate=_intermediate(text),
        heads=heads,
        vocabulary=network.get_output_embeddings().weight.shape[0],
        largest_layer=max(sum(parameter.numel() for parameter in block.parameters()) for block in blocks),
        qk_norm=any(name.endswith("q_norm") for name, _ in network.named_modules()),
        dtype=str(getattr(text, "dtype", None) or torch.float32).removeprefix("torch."),
        adapter=_count_adapter(network, model, text.num_hidden_layers),
    )


def _decoder_layers(network, count: int):
    from torch import nn

    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    return lists[0] if lists else [network]


def _intermediate(text) -> int:
    experts = getattr(text, "num_experts_per_tok", None)
    if experts and getattr(text, "moe_intermediate_size", None):
        return experts * text.moe_intermediate_size
    return (getattr(text, "intermediate_size", None) or 4 * text.hidden_size) * (experts or 1)


def _quantisable(network) -> tuple[tuple[int, int], ...]:
    """Shapes of the linear layers that bitsandbytes replaces: all but the output head."""
    from torch import nn

    head = network.get_output_embeddings()
    linears = (module for module in network.modules() if isinstance(module, nn.Linear) and module is not head)
    return tuple((module.out_features, module.in_features) for module in linears)


def _count_adapter(network, model: Any, layers: int) -> Adapter | None:
    from dataclasses import replace

    from peft import get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer
    from trl import get_peft_config

    # The adapter is counted also where none is configured: a suggestion to use one needs its size.
    peft_config = get_peft_config(model if model.use_peft else replace(model, use_peft=True))
    try:
        adapted = get_peft_model(network, peft_config, low_cpu_mem_usage=True)
    except ValueError:
        if model.use_peft:
            raise
        return None
    targets = {
        name: module.get_base_layer()
        for name, module in adapted.named_modules()
        if isinstance(module, BaseTunerLayer) and hasattr(module.get_base_layer(), "weight")
    }
    inputs = {name: base.weight.shape[-1] for name, base in targets.items()}
    distinct = {
        (name.rpartition(".")[0], size) for name, size in inputs.items() if not name.endswith(_ATTENTION_OUTPUT)
    }
    return Adapter(
        parameters=sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad),
        rank=model.lora_r,
        targets_per_layer=len(targets) / layers,
        inputs_per_layer=sum(inputs.values()) / layers,
        distinct_inputs_per_layer=sum(size for _, size in distinct) / layers,
    )
