"""Which models and settings the sharing of prompts is right for; the others are named with their reason."""

import inspect
from typing import Any

from .grouped import ATTENTION, UNKNOWN


__all__ = ["reason_against"]

# Model types whose positions enter as a bias made from row indices.
POSITION_BIAS_TYPES = ("bloom", "mpt", "t5", "xlnet")
# Configuration fields of experts with a limited number of places: a token's route depends on the other tokens.
CAPACITY_FIELDS = ("expert_capacity", "moe_capacity_factor", "capacity_factor")
KNOWN_LAYERS = ("full_attention", "sliding_attention")


def reason_against(model: Any, form: str = "grouped") -> str | None:
    """Why prompts cannot be shared in this model, as the second half of a sentence; `None` where they can.

    Args:
        model: a causal language model, with its PEFT adapters or without.
        form: `"mask"` or `"grouped"`.
    """
    for name, config in getattr(model, "peft_config", {}).items():
        if getattr(config, "is_prompt_learning", False):
            return f"the adapter `{name}` prepends virtual tokens ({config.peft_type.value})"
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    return _architecture(base) or _attention(base, form)


def _architecture(model: Any) -> str | None:
    """Items 2, 4, 5 and 9 of what breaks the sharing: positions, recurrence, experts, other kinds of models."""
    config = model.config
    kind = getattr(config, "model_type", type(model).__name__)
    if getattr(config, "is_encoder_decoder", False):
        return f"{kind} is an encoder-decoder"
    if config.get_text_config() is not config:
        return f"{kind} takes more than text, and its prompts may hold images"
    if kind in POSITION_BIAS_TYPES or getattr(config, "alibi", False):
        return f"{kind} makes position biases from the places in the row"
    layers = sorted(set(getattr(config, "layer_types", None) or ()) - set(KNOWN_LAYERS))
    if layers:
        return f"{kind} has layers of type {layers[0]!r}, which run through the other completions"
    if getattr(model, "_is_stateful", False) or getattr(config, "layers_block_type", None):
        return f"{kind} has recurrent layers, which run through the other completions"
    if getattr(config, "attention_chunk_size", None):
        return f"{kind} attends in chunks of row places"
    for name in CAPACITY_FIELDS:
        if getattr(config, name, None):
            return (
                f"{kind} limits how many tokens an expert takes (`{name}`), so a token's route depends on the others"
            )
    if getattr(config, "use_bidirectional_attention", None):
        return f"{kind} attends in both directions"
    return None


def _attention(model: Any, form: str) -> str | None:
    """Items 6, 7 and 9: the attention implementation and what it would have to know."""
    config = model.config
    kind = config.model_type
    implementation = config._attn_implementation
    if getattr(config, "attn_logit_softcapping", None) is not None:
        return f"{kind} caps its attention logits (`{UNKNOWN[0]}`), which SDPA does not know"
    if not model._can_set_attn_implementation() or not getattr(model, "_supports_sdpa", False):
        return f"{kind} does not run on SDPA attention through transformers' attention interface"
    if implementation not in ("sdpa", ATTENTION):
        return f"the attention implementation is {implementation!r} and must be 'sdpa'"
    backbone = inspect.signature(type(model.base_model).forward).parameters
    if "position_ids" not in backbone or all(item.kind != item.VAR_KEYWORD for item in backbone.values()):
        return f"the backbone of {kind} does not take position ids and hand further arguments down to its attention"
    dropout = getattr(config, "attention_dropout", None) or getattr(config, "attn_pdrop", None)
    if dropout and form == "grouped":
        return f"attention dropout is {dropout}; the shared prompt would get one mask instead of one per completion"
    return None
