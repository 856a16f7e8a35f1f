"""T-PPO (arXiv 2506.15050): which tokens train whom, and how the slots go on from window to window."""

import math
from typing import NamedTuple

import torch

from ..arguments import Numbers, as_bool, as_long, require_range


class TokenMasks(NamedTuple):
    """Tokens of the policy loss and of the value loss, [N, T] bool each."""

    policy_mask: torch.Tensor
    value_mask: torch.Tensor


class Slots(NamedTuple):
    """Prompt and length of what each slot writes next, whether its response has just finished, [S]; next prompt."""

    slot_prompt: torch.Tensor
    slot_length: torch.Tensor
    finished: torch.Tensor
    next_prompt: int


def check_tppo(window_length: int, max_completion_length: int, min_value_rows: int = 1) -> None:
    """Raise `ValueError` unless 1 <= window length <= completion length, and at least one row is asked for."""
    require_range("max_completion_length", max_completion_length, 1, math.inf, high_open=True)
    require_range("window_length", window_length, 1, max_completion_length)
    require_range("min_value_rows", min_value_rows, 1)


def tppo_token_masks(completion_mask: Numbers, window_start: Numbers, truncated: Numbers) -> TokenMasks:
    """The policy learns from the tokens of this window, the critic from all tokens of finished responses.

    So each token is in the policy mask once in the life of its response, and in the value mask once, when it finishes.

    Args:
        completion_mask: [N, T], non-zero at the tokens known so far that count.
        window_start: [N], first position of this window's tokens, from 0 to T.
        truncated: [N], True for a response that goes on in the next window.

    Returns:
        `TokenMasks(policy_mask [N, T], value_mask [N, T])`.

    Raises:
        ValueError: for other shapes or a start outside [0, T].
    """
    keep, start, open_rows = as_bool(completion_mask), as_long(window_start), as_bool(truncated)
    if keep.dim() != 2:
        raise ValueError(f"`completion_mask` has shape {list(keep.shape)}; expected [N, T].")
    for name, values in (("window_start", start), ("truncated", open_rows)):
        if values.shape != keep.shape[:1]:
            raise ValueError(f"`{name}` has shape {list(values.shape)}; expected {list(keep.shape[:1])}, one per row.")
    _require_each("window_start", start, 0, keep.shape[1])
    positions = torch.arange(keep.shape[1], device=keep.device)
    return TokenMasks(keep & (positions >= start[:, None]), keep & ~open_rows[:, None])


def tppo_advance(
    slot_prompt: Numbers,
    slot_length: Numbers,
    new_tokens: Numbers,
    ended: Numbers,
    next_prompt: int,
    num_prompts: int,
    max_length: int,
) -> Slots:
    """Book a window's tokens; slots whose response finished take the next prompts, in slot order.

    Args:
        slot_prompt: [S], index of each slot's prompt.
        slot_length: [S], tokens of its response before the window.
        new_tokens: [S], tokens written in the window, from 1 to what `max_length` leaves.
        ended: [S], True where the response has ended by itself.
        next_prompt: index of the first prompt that no slot has taken; counted modulo `num_prompts`.
        num_prompts: at least 1.
        max_length: length at which a response is finished in any case.

    Returns:
        `Slots(slot_prompt [S], slot_length [S], finished [S] bool, next_prompt)`, refilled slots having length 0.

    Raises:
        ValueError: for other shapes or a count outside its range.
    """
    prompts, lengths, written, done = as_long(slot_prompt), as_long(slot_length), as_long(new_tokens), as_bool(ended)
    if prompts.dim() != 1:
        raise ValueError(f"`slot_prompt` has shape {list(prompts.shape)}; expected [S].")
    for name, values in (("slot_length", lengths), ("new_tokens", written), ("ended", done)):
        if values.shape != prompts.shape:
            raise ValueError(f"`{name}` has shape {list(values.shape)}; expected {list(prompts.shape)}, one per slot.")
    require_range("num_prompts", num_prompts, 1)
    require_range("next_prompt", next_prompt, 0)
    _require_each("slot_prompt", prompts, 0, num_prompts - 1)
    _require_each("slot_length", lengths, 0, max_length - 1)
    _require_each("new_tokens", written, 1, max_length - lengths)
    total = lengths + written
    finished = done | (total == max_length)
    order = finished.cumsum(0) - 1
    return Slots(
        slot_prompt=torch.where(finished, (next_prompt + order) % num_prompts, prompts),
        slot_length=torch.where(finished, 0, total),
        finished=finished,
        next_prompt=(next_prompt + int(finished.sum())) % num_prompts,
    )


def _require_each(name: str, values: torch.Tensor, low: int, high: torch.Tensor | int) -> None:
    """Raise `ValueError` at the first entry outside [low, high]."""
    limits = torch.as_tensor(high, device=values.device).expand_as(values)
    wrong = (values < low) | (values > limits)
    if bool(wrong.any()):
        index = int(wrong.nonzero()[0])
        raise ValueError(
            f"`{name}` is {int(values[index])} at index {index}; valid range: [{low}, {int(limits[index])}]."
        )
