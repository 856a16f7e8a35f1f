"""From a prompt and a response to the token ids that a reward model reads."""

from typing import Any

from alignkit.errors import InputError
from alignkit.generation.prompts import first_line

from .conversations import Prompt, Response, as_text, conversation


PLAIN_FORMATS = ("chat", "concatenate")


def encode_exchange(tokenizer: Any, prompt: Prompt, response: Response, plain_format: str) -> list[int]:
    """Token ids of the whole exchange, as `trl.RewardTrainer` makes them.

    Messages go through the tokenizer's chat template. Plain text does too, as one user and one assistant message, with
    `plain_format` "chat"; with "concatenate" it is prompt + response + EOS, TRL's treatment of plain rows.
    """
    if plain_format == "concatenate" and isinstance(prompt, str):
        text = prompt + as_text(response)
        end = tokenizer.eos_token or ""
        return tokenizer(text if text.endswith(end) else text + end)["input_ids"]
    text = render_chat(tokenizer, conversation(prompt, response))
    # The template has written the special tokens already.
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def render_chat(tokenizer: Any, messages: list[dict[str, Any]], **kwargs: Any) -> str:
    """The text of a conversation under the tokenizer's chat template. Raises `InputError` where that is impossible."""
    if not tokenizer.chat_template:
        raise InputError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template, so messages cannot be rendered: save one "
            'with the model, or give plain text with plain_format "concatenate"'
        )
    import jinja2

    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, **kwargs)
    except jinja2.TemplateError as error:
        roles = [message.get("role") for message in messages]
        raise InputError(
            f"the chat template of {tokenizer.name_or_path} refuses messages with the roles {roles}: {first_line(error)}"
        ) from error
