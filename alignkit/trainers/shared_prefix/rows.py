"""The layout of one group: prompt once, then every completion behind its own copy of the last prompt token.

    row = [ prompt[:-1] | last prompt token, completion 1 | ... | last prompt token, completion G ]

The last prompt token is repeated because its hidden state scores the first token of each completion: "hidden state t
scores token t+1" then holds everywhere, and one `labels` tensor says what is scored.
"""

from typing import NamedTuple

import torch


__all__ = ["PROMPT", "SEGMENTS_PER_MEMBER", "Rows", "build_rows", "members", "unpack"]

# Segment ids carry the pack member as well, so that several prompts can lie in one row: member m has the prompt id
# -1 - m and the segments m * SEGMENTS_PER_MEMBER + g. A row of one group has -1 and 0, 1, ..., G-1.
PROMPT = -1
SEGMENTS_PER_MEMBER = 1 << 20


class Rows(NamedTuple):
    """Rows that hold each prompt once, all [B, L].

    Attributes:
        input_ids: the tokens.
        position_ids: the positions they have in their own sequence; padding has 0.
        segment_ids: below 0 for a prompt, the number of the completion (segment) otherwise.
        token_mask: bool, whether the place holds a real token.
        labels: the token where it is scored, -100 on prompts, segment heads and padding.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segment_ids: torch.Tensor
    token_mask: torch.Tensor
    labels: torch.Tensor


def members(segment_ids: torch.Tensor) -> torch.Tensor:
    """The pack member (which prompt of the row) of every place; same shape as `segment_ids`."""
    segments = torch.div(segment_ids.clamp(min=0), SEGMENTS_PER_MEMBER, rounding_mode="floor")
    return torch.where(segment_ids < 0, PROMPT - segment_ids, segments)


def build_rows(
    prompt_ids: torch.Tensor,
    prompt_mask: torch.Tensor,
    completion_ids: torch.Tensor,
    completion_mask: torch.Tensor,
    num_completions: int,
) -> Rows:
    """Rows of length L = P - 1 + G (1 + C) from left-padded prompts and the right-padded completions of their groups.

    Args:
        prompt_ids, prompt_mask: [B, P], one prompt per group, padded on the left (or not at all).
        completion_ids, completion_mask: [B * G, C], the completions of group b in rows bG ... bG + G - 1, padded on the
            right; a completion may be empty.
        num_completions: G.

    Raises:
        ValueError: where the number of completions is not B * G.
    """
    batch, width = prompt_ids.shape
    if completion_ids.shape[0] != batch * num_completions:
        raise ValueError(
            f"{completion_ids.shape[0]} completions do not make {batch} groups of {num_completions}; give "
            f"{batch * num_completions}."
        )
    prompt_mask, completion_mask = prompt_mask.bool(), completion_mask.bool()
    shape = (batch, num_completions, 1 + completion_ids.shape[1])
    lengths = prompt_mask.sum(dim=1)

    def rows(prompt: torch.Tensor, head: torch.Tensor, completions: torch.Tensor) -> torch.Tensor:
        """One tensor [B, L] from what stands on the prompts [B, P], the segment heads [B] and the completions."""
        heads = head[:, None].expand(batch, num_completions).reshape(-1, 1)
        segments = torch.cat([heads, completions], dim=1).view(batch, -1)
        return torch.cat([prompt[:, : width - 1], segments], dim=1)

    prompt_positions = (prompt_mask.long().cumsum(dim=1) - 1).clamp(min=0)
    steps = completion_mask.long().cumsum(dim=1) - 1
    completion_positions = (lengths.repeat_interleave(num_completions)[:, None] + steps) * completion_mask
    segments = torch.arange(num_completions, device=prompt_ids.device)[None, :, None].expand(shape).reshape(batch, -1)
    ignored = torch.full_like(prompt_ids, -100)
    return Rows(
        input_ids=rows(prompt_ids, prompt_ids[:, -1], completion_ids),
        position_ids=rows(prompt_positions, lengths - 1, completion_positions),
        segment_ids=torch.cat([torch.full_like(prompt_ids[:, : width - 1], PROMPT), segments], dim=1),
        token_mask=rows(prompt_mask, prompt_mask[:, -1], completion_mask),
        labels=rows(ignored, ignored[:, -1], completion_ids.masked_fill(~completion_mask, -100)),
    )


def unpack(values: torch.Tensor, prompt_width: int, num_completions: int) -> torch.Tensor:
    """What was computed for every scored token, back on the completions: [B, L - 1] -> [B * G, C].

    `values[:, t]` belongs to token t + 1 of the row, as in `log_probs` of TRL's fused LM head; `prompt_width` is P.
    """
    padded = torch.nn.functional.pad(values, (1, 0))
    segments = padded[:, prompt_width - 1 :].reshape(values.shape[0] * num_completions, -1)
    return segments[:, 1:]
