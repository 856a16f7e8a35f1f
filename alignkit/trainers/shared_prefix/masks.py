"""Who may attend to whom on rows that hold each prompt once: boolean 4D masks, and FlexAttention's block masks."""

from typing import Any

import torch

from .rows import members


__all__ = ["attention_mask", "block_mask", "layer_masks", "layer_windows"]

# The tile of FlexAttention: prompts and segments that fill whole tiles leave whole tiles empty.
FLEX_BLOCK = 128


def attention_mask(
    segment_ids: torch.Tensor,
    token_mask: torch.Tensor,
    position_ids: torch.Tensor,
    sliding_window: int | None = None,
) -> torch.Tensor:
    """Boolean mask [B, 1, L, L], True where the query (third axis) may attend to the key (fourth).

    A query sees the real keys at or before its place in the row that are in its own segment or in the prompt of its
    pack member; with `sliding_window` W only those whose *position* is less than W behind its own. The diagonal is
    always True, so that a padding query has a key and its softmax no NaN.

    Args:
        segment_ids, token_mask, position_ids: [B, L], as in [`Rows`].
        sliding_window: W in tokens, or `None` for full attention.
    """
    length = segment_ids.shape[1]
    places = torch.arange(length, device=segment_ids.device)
    member = members(segment_ids)
    queries, keys = segment_ids[:, :, None], segment_ids[:, None, :]
    allowed = (queries == keys) | ((keys < 0) & (member[:, :, None] == member[:, None, :]))
    allowed &= token_mask.bool()[:, None, :] & (places[None, :, None] >= places[None, None, :])
    if sliding_window is not None:
        allowed &= position_ids[:, :, None] - position_ids[:, None, :] < sliding_window
    allowed |= (places[:, None] == places[None, :])[None]
    return allowed[:, None]


def block_mask(
    segment_ids: torch.Tensor,
    token_mask: torch.Tensor,
    position_ids: torch.Tensor,
    sliding_window: int | None = None,
) -> Any:
    """The same mask as FlexAttention's `BlockMask`, made once per batch; empty tiles are skipped by the kernel."""
    from torch.nn.attention.flex_attention import create_block_mask

    member, real = members(segment_ids), token_mask.bool()

    def mask_mod(b, h, q, k):
        own = segment_ids[b, q] == segment_ids[b, k]
        prompt = (segment_ids[b, k] < 0) & (member[b, q] == member[b, k])
        allowed = (k <= q) & (own | prompt) & real[b, k]
        if sliding_window is not None:
            allowed = allowed & (position_ids[b, q] - position_ids[b, k] < sliding_window)
        return allowed | (k == q)

    batch, length = segment_ids.shape
    return create_block_mask(
        mask_mod, batch, None, length, length, device=str(segment_ids.device), BLOCK_SIZE=FLEX_BLOCK
    )


def layer_windows(config: Any) -> list[int | None]:
    """Sliding window of every layer in tokens, `None` where the layer has full attention."""
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        window = None
    types = getattr(config, "layer_types", None)
    if types is None:
        return [window] * config.num_hidden_layers
    return [window if kind == "sliding_attention" else None for kind in types]


def layer_masks(config: Any, make: Any) -> Any:
    """What a model takes as `attention_mask`: one mask, or `{layer type: mask}` where it has several layer types.

    `make(sliding_window)` returns the mask for one window.
    """
    types = getattr(config, "layer_types", None) or ()
    if "sliding_attention" in types:
        window = next((window for window in layer_windows(config) if window is not None), None)
        return {"full_attention": make(None), "sliding_attention": make(window)}
    return make(layer_windows(config)[0])
