"""A model with TRL's fused LM head whose forward pass computes each prompt once.

`share_prompts(model)` puts the sharing inside the model's forward: every caller of `model(input_ids, attention_mask,
labels=labels, fused_lm_head=True)` (policy, reference, old log-probabilities, TRL's own losses) gets the same
[`FusedCausalLMOutput`] on its padded batch as before, computed on rows without repeated prompts and without padding.
"""

import functools
import logging
import types
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...errors import InputError
from .choice import choose_form, is_too_small, scores_nearly_all
from .grouped import ATTENTION, Plan
from .masks import FLEX_BLOCK, block_mask, layer_masks, layer_windows
from .masks import attention_mask as dense_mask
from .packing import Batch, Layout, Scores, fit, lay_out, padded_scores, read_batch
from .proof import disagreement
from .support import reason_against


__all__ = ["PromptSharing", "share_prompts", "shared_inputs"]

logger = logging.getLogger(__name__)

# Arguments of a pass that prompts can be shared in; one that brings anything else is left alone.
KNOWN_ARGUMENTS = {
    "input_ids",
    "attention_mask",
    "labels",
    "use_cache",
    "fused_lm_head",
    "output_router_logits",
    "num_items_in_batch",
}
TOKEN_FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


@dataclass
class PromptSharing:
    """How a model shares prompts; the attribute `prompt_sharing` of the model.

    Attributes:
        mode: `"auto"`, `"mask"`, `"grouped"` or `"off"`; may be changed between passes.
        budget: most tokens of a row of the form `"mask"`; `None` is the longest group of the batch.
        form: the form of the last pass, `"mask"`, `"grouped"`, `"plain"` or `"off"`.
        layout: the rows of the last pass, `None` where it computed padded rows.
        scores: which hidden states the backbone handed on in that pass, `None` where it were all of the padded batch.
        failed: what the trial of the model found, where its shared rows disagree with padded ones: it shares nothing.
    """

    mode: str = "auto"
    budget: int | None = None
    form: str = "off"
    layout: Layout | None = None
    scores: Scores | None = None
    failed: str | None = None


def share_prompts(model: Any, mode: str = "auto", budget: int | None = None) -> PromptSharing | None:
    """Let `model` compute each prompt once, in every pass through TRL's fused LM head.

    Args:
        model: a causal language model that `trl.trainer.utils.add_fused_lm_head` was applied to, with PEFT adapters or
            without, not yet wrapped for several devices; or a bare backbone, which is called with `shared_inputs`.
        mode, budget: as in [`PromptSharing`].

    Returns what is to be had at the model's `prompt_sharing`, or `None` where nothing is shared: under `"off"`, and
    under `"auto"` for a model that does not allow it (one log line says why).

    Raises:
        InputError: under `"mask"` and `"grouped"`, for a model that does not allow it.
    """
    if mode == "off":
        return None
    reason = reason_against(model, "mask" if mode == "mask" else "grouped")
    if reason is not None:
        if mode != "auto":
            raise InputError(f"`shared_prefix` is {mode!r}, but {reason}; set it to 'off' or 'auto'.")
        logger.info("Prompts are not shared: %s.", reason)
        return None
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    if not hasattr(base, "prompt_sharing"):
        base.set_attn_implementation(ATTENTION)
        base.base_model.register_forward_pre_hook(_before_backbone, with_kwargs=True)
        base.base_model.register_forward_hook(_after_backbone, with_kwargs=True)
        base.prompt_sharing = PromptSharing()
        if base.base_model is not base:
            _patch_forward(base)
        base.prompt_sharing.failed = disagreement(
            base, ("mask", "grouped") if mode == "auto" else (mode,), shared_inputs
        )
        _warn_of_dropout(model)
    reason = base.prompt_sharing.failed
    if reason is not None:
        base.prompt_sharing.mode = "off"
        if mode != "auto":
            raise InputError(f"`shared_prefix` is {mode!r}, but {reason}; set it to 'off'.")
        logger.warning("Prompts are not shared: %s.", reason)
        return None
    base.prompt_sharing.mode, base.prompt_sharing.budget = mode, budget
    return base.prompt_sharing


def _warn_of_dropout(model: Any) -> None:
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout) and module.p > 0]
    if rates:
        logger.warning(
            "Dropout is %g: the completions of a group get one mask on their shared prompt instead of one each. Set it "
            "to 0, or `shared_prefix: off`.",
            max(rates),
        )


def _patch_forward(model: Any) -> None:
    """Put the sharing in front of the fused forward; a call without fused head is untouched."""
    fused = model.forward
    # Bound anew at each call, so that a copy of the model runs on its own weights.
    function = fused.__func__ if isinstance(fused, types.MethodType) else None

    @functools.wraps(type(model).forward)
    def forward(self, *args, fused_lm_head=False, **kwargs):
        inner = functools.partial(function, self) if function is not None else fused
        # PEFT hands every argument on that it knows, most of them None.
        given = {name: value for name, value in kwargs.items() if value is not None}
        if not fused_lm_head or self.prompt_sharing.mode == "off" or args or not given.keys() <= KNOWN_ARGUMENTS:
            if fused_lm_head:
                _forget_pass(self.prompt_sharing)
                kwargs["fused_lm_head"] = True
            return inner(*args, **kwargs)
        return _shared_forward(self, inner, **given)

    model.forward = types.MethodType(forward, model)


def _shared_forward(
    model: Any,
    inner: Any,
    input_ids: torch.Tensor,
    labels: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    num_items_in_batch: Any = None,
    **kwargs: Any,
) -> Any:
    """The fused pass on the padded batch [R, T]; per-token fields are [R, T - 1], as TRL's."""
    found = shared_inputs(model, input_ids, attention_mask, labels)
    if found is None:
        return inner(
            input_ids=input_ids,
            attention_mask=attention_mask,
            labels=labels,
            num_items_in_batch=num_items_in_batch,
            fused_lm_head=True,
            **kwargs,
        )
    inputs, scores = found
    outputs = inner(
        **inputs,
        **kwargs,
        shift_labels=scores.labels[None],
        num_items_in_batch=num_items_in_batch,
        fused_lm_head=True,
    )
    return _unpacked(outputs, scores, labels)


def shared_inputs(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, labels: torch.Tensor
) -> tuple[dict[str, Any], Scores] | None:
    """What the backbone of a model with `prompt_sharing` takes instead of a padded batch [R, T], and what it hands on.

    `None` where the padded batch is computed as it is. Otherwise the backbone's `last_hidden_state` is [1, M, hidden
    size], for the M places of the scores.
    """
    sharing = model.prompt_sharing
    _forget_pass(sharing)
    if sharing.mode == "off" or is_too_small(input_ids, sharing.mode):
        return None
    batch = read_batch(input_ids, attention_mask, labels)
    if batch is None:
        return None
    sharing.form = choose_form(batch, sharing.mode, input_ids.device.type == "cpu")
    if sharing.form == "plain":
        if input_ids.is_cuda or scores_nearly_all(labels):
            # On CUDA TRL's head itself scores only the labelled places of a padded batch.
            return None
        scores = padded_scores(batch, labels)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "position_ids": _positions(attention_mask),
            "shared_prefix": Plan(scores.places),
        }
    else:
        layout = _rows(model, batch, input_ids, labels)
        sharing.layout, scores = layout, layout.scores
        inputs = {
            "input_ids": layout.input_ids,
            "attention_mask": layout.weights,
            "position_ids": layout.position_ids,
            "shared_prefix": _plan(model, layout),
        }
    sharing.scores = scores
    return inputs, scores


def _forget_pass(sharing: PromptSharing) -> None:
    sharing.form, sharing.layout, sharing.scores = "off", None, None


def _positions(attention_mask: torch.Tensor | None) -> torch.Tensor | None:
    """Positions that do not count the padding on the left, as those of the shared rows."""
    return None if attention_mask is None else (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)


def _rows(model: Any, batch: Batch, input_ids: torch.Tensor, labels: torch.Tensor) -> Layout:
    """The batch laid out for the form of this pass: one row, or rows of at most the budget."""
    sharing = model.prompt_sharing
    if sharing.form == "grouped":
        return lay_out(batch, input_ids, labels, [range(len(batch.groups))])
    lengths = [batch.shared_length(group) for group in batch.groups]
    rows = fit(lengths, sharing.budget or max(lengths))
    return lay_out(batch, input_ids, labels, rows, multiple=FLEX_BLOCK if _uses_flex(model, input_ids) else 1)


def _uses_flex(model: Any, input_ids: torch.Tensor) -> bool:
    """FlexAttention has no backward pass on a CPU."""
    return input_ids.is_cuda and bool(getattr(model, "_supports_flex_attn", False))


def _plan(model: Any, layout: Layout) -> Plan:
    config = model.config
    if model.prompt_sharing.form == "grouped":
        # A 4D mask is handed on as it is, so none is built; the grouped attention does not look at it.
        unused = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=layout.input_ids.device)
        masks = layer_masks(config, lambda window: unused)
        return Plan(layout.scores.places, masks, layout.spans, layer_windows(config))
    make = block_mask if _uses_flex(model, layout.input_ids) else dense_mask
    rows = (layout.segment_ids, layout.token_mask, layout.position_ids)
    return Plan(layout.scores.places, layer_masks(config, lambda window: make(*rows, window)))


def _before_backbone(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Give the backbone the masks of the plan; TRL's head goes on with the 2D weights, for the router loss."""
    plan = kwargs.get("shared_prefix")
    if plan is not None and plan.masks is not None:
        kwargs = {**kwargs, "attention_mask": plan.masks}
    return args, kwargs


def _after_backbone(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
    """Hand only the hidden states that score a token to the LM head: [1, M, hidden size]."""
    plan = kwargs.get("shared_prefix")
    if plan is not None:
        hidden = output.last_hidden_state
        output.last_hidden_state = hidden.reshape(-1, hidden.shape[-1]).index_select(0, plan.places)[None]
    return output


def _unpacked(outputs: Any, scores: Scores, labels: torch.Tensor) -> Any:
    """The outputs on the places of the padded batch."""
    for name in TOKEN_FIELDS:
        values = getattr(outputs, name)
        if values is not None:
            setattr(outputs, name, scores.unpack(values))
    outputs.label_mask = labels[:, 1:] != -100
    return outputs
