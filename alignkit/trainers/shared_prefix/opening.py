"""Prompt sharing in a trainer: which of its models share, and which settings of a run forbid it."""

import logging
from typing import Any

from ...errors import InputError
from .forward import PromptSharing, share_prompts


__all__ = ["share_trainer_prompts"]

logger = logging.getLogger(__name__)


def share_trainer_prompts(trainer: Any) -> list[PromptSharing]:
    """Let policy and reference of a trainer compute each prompt once, as `shared_prefix` of its configuration says.

    Args:
        trainer: a TRL trainer whose models have their fused LM head; `args` has the fields of [`SharedPrefixConfig`].

    Returns one [`PromptSharing`] per model, none where nothing is shared. Calling it again changes nothing.

    Raises:
        InputError: where the configuration insists on a form and the model or a setting of the run forbids it.
    """
    args = trainer.args
    if args.shared_prefix == "off":
        return []
    reason = _setting_against(trainer)
    if reason is not None:
        if args.shared_prefix != "auto":
            raise InputError(f"`shared_prefix` is {args.shared_prefix!r}, but {reason}; set one of them off.")
        logger.info("Prompts are not shared: %s.", reason)
        return []
    models = [trainer.model] if trainer.ref_model is None else [trainer.model, trainer.ref_model]
    sharings = []
    for model in models:
        sharing = share_prompts(trainer.accelerator.unwrap_model(model), args.shared_prefix, args.shared_prefix_tokens)
        if sharing is None:  # the reference has the policy's architecture
            break
        sharings.append(sharing)
    return sharings


def _setting_against(trainer: Any) -> str | None:
    """A setting of the run that prompts cannot be shared under, as the second half of a sentence."""
    args = trainer.args
    if args.torch_compile:
        return "`torch_compile` would compile each batch anew, whose rows have lengths of their own"
    if getattr(args, "padding_free", False):
        return "`padding_free` packs the batch itself"
    if getattr(args, "use_transformers_continuous_batching", False):
        return "`use_transformers_continuous_batching` knows no attention implementation but transformers' own"
    parallel = trainer.accelerator.parallelism_config
    if parallel is not None and (parallel.cp_enabled or parallel.sp_enabled):
        return "context and sequence parallelism cut the rows"
    return None
