"""From messages to the text and the tokens that a model is given."""

import hashlib
import logging
from typing import TYPE_CHECKING, Any, TypeGuard

from alignkit.errors import InputError


if TYPE_CHECKING:
    from .sources import ModelSource

logger = logging.getLogger(__name__)

# Chat messages ({"role", "content"}), or a plain text or its tokens, which are given to the model as they are.
Prompt = list[dict[str, str]] | str | list[int]


def load_tokenizer(source: "ModelSource", chat_template: str | None = None, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer that belongs to `source`, padding on the left.

    An adapter folder that ships a tokenizer is read with its own tokenizer and template, else with the base's.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source.tokenizer_path, revision=source.tokenizer_revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise InputError(f"no tokenizer can be loaded from {source.tokenizer_path}: {first_line(error)}") from error
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def render_prompt(tokenizer: Any, prompt: Prompt, chat_template_kwargs: dict[str, Any] | None = None) -> str:
    """The text that the model reads: messages through the chat template with the generation prompt; text unchanged,
    tokens decoded."""
    if isinstance(prompt, str):
        return prompt
    if is_token_ids(prompt):
        return tokenizer.decode(prompt)
    if not tokenizer.chat_template:
        raise InputError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template, so messages cannot be rendered: give one "
            "with --chat_template FILE"
        )
    import jinja2

    try:
        return tokenizer.apply_chat_template(
            prompt, tokenize=False, add_generation_prompt=True, **(chat_template_kwargs or {})
        )
    except jinja2.TemplateError as error:
        roles = [message.get("role") for message in prompt if isinstance(message, dict)]
        raise InputError(
            f"the chat template of {tokenizer.name_or_path} refuses messages with the roles {roles}: {first_line(error)}"
        ) from error


def is_token_ids(prompt: Prompt) -> TypeGuard[list[int]]:
    """Whether a prompt is given as tokens."""
    return isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], int)


def encode_prompt(tokenizer: Any, prompt: Prompt, chat_template_kwargs: dict[str, Any] | None = None) -> list[int]:
    """Token ids of a prompt. A rendered chat holds its special tokens already, so none is added to it."""
    if is_token_ids(prompt):
        return list(prompt)
    text = render_prompt(tokenizer, prompt, chat_template_kwargs)
    # Not verbose: a text that is too long for the model is the caller's to speak of.
    return tokenizer(text, add_special_tokens=isinstance(prompt, str), verbose=False)["input_ids"]


def prompt_hash(rendered: str) -> str:
    """Name of a rendered prompt in the records: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(rendered.encode()).hexdigest()[:16]


def stop_token_ids(tokenizer: Any, generation_config: Any = None) -> list[int]:
    """Every token that ends a completion: those of the generation config and the tokenizer's own."""
    configured = getattr(generation_config, "eos_token_id", None)
    ids = set(configured if isinstance(configured, list | tuple) else [configured])
    ids.add(tokenizer.eos_token_id)
    return sorted(token for token in ids if token is not None)


def first_line(error: Exception) -> str:
    """The first line of an exception's text, for a one-sentence message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
