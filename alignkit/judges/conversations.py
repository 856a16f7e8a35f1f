"""Prompts and responses as judges take them: plain text or chat messages."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any


Message = dict[str, Any]
Prompt = str | list[Message]
# A response of several messages (tool calls, turns) is a list; the usual one is its text.
Response = str | list[Message]


def canonical(value: Any) -> str:
    """`value` as JSON that depends on its content only: the same for equal values, whatever the order of the keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def conversation(prompt: Prompt, response: Response) -> list[Message]:
    """The whole exchange as messages; plain text becomes a user message and an assistant message."""
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    after = [{"role": "assistant", "content": response}] if isinstance(response, str) else list(response)
    return before + after


def content_text(message: Message) -> str:
    """The text of one message, also where its content is a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def as_text(value: Prompt | Response) -> str:
    """A prompt or a response as text: of a single message its content, of several each after its role."""
    if isinstance(value, str):
        return value
    if len(value) == 1:
        return content_text(value[0])
    return "\n\n".join(f"{message.get('role', 'unknown')}: {content_text(message)}" for message in value)


def check_lengths(**lists: Iterable[Any]) -> None:
    """Raise `ValueError` naming the first list whose length differs from that of the first one."""
    (first_name, first), *others = [(name, len(list(values))) for name, values in lists.items()]
    for name, length in others:
        if length != first:
            raise ValueError(f"`{name}` has {length} items; expected {first}, the number of `{first_name}`.")
