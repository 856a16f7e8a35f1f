"""Attention on one unpadded row of groups: the prompt on itself, every segment on [prompt | segment].

Registered through transformers' `AttentionInterface`; without a plan in the call it is transformers' SDPA attention, so
generation and every other pass of the model are as before.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ...errors import InputError
from .batched import attend_in_batches


__all__ = ["ATTENTION", "Plan", "shared_prefix_attention"]

ATTENTION = "alignkit_shared_prefix"

# Arguments of an attention call that change its result and that the grouped form does not know.
UNKNOWN = ("softcap", "s_aux", "position_bias")


class Plan:
    """What the passes of a model need beside its inputs; handed down as the model argument `shared_prefix`.

    Attributes:
        spans: lengths of the prompt (without its last token) and of the segments of every group of the one row, for the
            grouped form; `None` where a mask says who sees whom.
        windows: sliding window of every layer in tokens, or `None`.
        masks: what replaces the model's `attention_mask` on its way into the backbone; `None` leaves it.
        places: [M], the places of the flattened hidden states that go on to the LM head.
    """

    def __init__(
        self,
        places: torch.Tensor,
        masks: Any = None,
        spans: list[tuple[int, list[int]]] | None = None,
        windows: list[int | None] | None = None,
    ) -> None:
        self.places = places
        self.masks = masks
        self.spans = spans
        self.windows = windows or []
        self.kept: dict[Any, Any] = {}  # what one layer has made and the others use again
        self._causal: dict[tuple, torch.Tensor] = {}

    def mask(self, queries: int, keys: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
        """Additive causal mask [queries, keys] whose last query stands at the last key, kept for the other layers."""
        key = (queries, keys, window, like.dtype, like.device)
        if key not in self._causal:
            places = torch.arange(keys, device=like.device)
            distance = places[keys - queries :, None] - places[None, :]
            allowed = distance >= 0
            if window is not None:
                allowed &= distance < window
            mask = torch.zeros(queries, keys, dtype=like.dtype, device=like.device)
            self._causal[key] = mask.masked_fill_(~allowed, float("-inf"))
        return self._causal[key]


def shared_prefix_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    shared_prefix: Plan | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one layer, [B, H, L, D] -> [B, L, H, D], in the form of transformers' attention functions."""
    if shared_prefix is None or shared_prefix.spans is None:
        if attention_mask is not None and not isinstance(attention_mask, torch.Tensor):
            return flex_attention_forward(module, query, key, value, attention_mask, scaling, **kwargs)
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    for name in UNKNOWN:
        if kwargs.get(name) is not None:
            raise InputError(
                f"the model's attention takes `{name}`, which `shared_prefix` 'grouped' does not know; set it to 'off'."
            )
    if dropout:
        raise InputError(
            f"attention dropout is {dropout}; `shared_prefix` 'grouped' needs it to be 0. Set it to 0 or use 'off'."
        )
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    window = shared_prefix.windows[module.layer_idx]
    attend = attend_in_batches if query.is_cuda else _attend  # a GPU would spend the loop's time on launching it
    output = attend(shared_prefix, query, key, value, scaling, window)
    return output.transpose(1, 2).contiguous(), None


def _attend(
    plan: Plan, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float | None, window: int | None
) -> torch.Tensor:
    """Attention [1, H, L, D] of every group of the row.

    The prompt and the first segment behind it are a causal sequence as they lie; a further segment attends to the
    prompt and itself.
    """
    assert plan.spans is not None
    sizes = [size for prompt, segments in plan.spans for size in (prompt + segments[0], *segments[1:])]
    pieces = zip(query.split(sizes, dim=2), key.split(sizes, dim=2), value.split(sizes, dim=2), strict=True)
    outputs = []
    for prompt, segments in plan.spans:
        q, k, v = next(pieces)
        if window is None or k.shape[2] <= window:
            outputs.append(scaled_dot_product_attention(q, k, v, scale=scale, is_causal=True))
        else:
            mask = plan.mask(q.shape[2], k.shape[2], window, q)
            outputs.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale))
        prompt_key, prompt_value = k[:, :, :prompt], v[:, :, :prompt]
        for _ in segments[1:]:
            q, own_key, own_value = next(pieces)
            k, v = torch.cat([prompt_key, own_key], dim=2), torch.cat([prompt_value, own_value], dim=2)
            mask = plan.mask(q.shape[2], k.shape[2], window, q)
            outputs.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale))
    return torch.cat(outputs, dim=2)


AttentionInterface.register(ATTENTION, shared_prefix_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
