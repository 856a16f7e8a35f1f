"""What a preference pair must be: prompt, chosen and rejected as text or as messages, in TRL's formats."""

from typing import Any

from .files import shorten
from .rows import kind_of


ROLES = ("system", "user", "assistant", "tool")

Row = dict[str, Any]


def text_or_messages_problem(value: Any, is_prompt: bool) -> str | None:
    """Say what is wrong with a prompt or a response, or return None."""
    if isinstance(value, str):
        return None if value.strip() else f"the text is {shorten(value)}; expected a text that is not empty"
    if not isinstance(value, list):
        return f"the value is {kind_of(value)}; expected text or a list of messages"
    if not value:
        return "the list of messages is empty; expected at least one message"
    for number, message in enumerate(value):
        problem = _message_problem(message)
        if problem:
            return f"message {number} (counting from 0) {problem}"
        if message["role"] == "system" and number > 0:
            return f"message {number} (counting from 0) has the role 'system'; only the first message may have it"
    last = value[-1]["role"]
    if is_prompt and last not in ("user", "tool"):
        return f"the last message has the role {last!r}; a prompt must end with 'user' (or 'tool')"
    if not is_prompt and last != "assistant":
        return f"the last message has the role {last!r}; a response must end with 'assistant'"
    return None


def _message_problem(message: Any) -> str | None:
    if not isinstance(message, dict):
        return f"is {kind_of(message)}; expected an object with `role` and `content`"
    role, content = message.get("role"), message.get("content")
    if role is None:
        return "has no `role`; expected one of " + ", ".join(ROLES)
    if role not in ROLES:
        return f"has the role {shorten(role)}; expected one of {', '.join(ROLES)}"
    if message.get("tool_calls") and role == "assistant":
        return None
    if content is None:
        return "has no `content` (null); expected text"
    if not isinstance(content, (str, list)):
        return f"has {kind_of(content)} as `content`; expected text"
    if not content or (isinstance(content, str) and not content.strip()):
        return f"has the content {shorten(content)}; expected a text that is not empty"
    return None


def pair_problem(row: Row) -> tuple[str, str] | None:
    """Return (field, problem) of a row whose prompt, chosen and rejected are each well formed, or None.

    The three must be of one kind; chosen must differ from rejected; with a prompt the responses begin with the
    assistant, without one they must share a beginning, which TRL takes as the prompt.
    """
    prompt, chosen, rejected = row.get("prompt"), row["chosen"], row["rejected"]
    if isinstance(chosen, str) != isinstance(rejected, str):
        return (
            "rejected",
            f"the value is {kind_of(rejected)}, but `chosen` is {kind_of(chosen)}; use one kind for both",
        )
    if prompt is not None and isinstance(prompt, str) != isinstance(chosen, str):
        holds_prompt = not isinstance(chosen, str) and chosen[0]["role"] != "assistant"
        advice = "remove the column: the conversations hold the prompt already" if holds_prompt else "use one kind"
        return "prompt", f"the value is {kind_of(prompt)}, but `chosen` is {kind_of(chosen)}; {advice}"
    if chosen == rejected:
        return "rejected", f"the response equals `chosen` ({shorten(_last_text(chosen))}); a pair needs two responses"
    if prompt is None:
        return _implicit_prompt_problem(chosen, rejected)
    if not isinstance(chosen, str):
        for field, response in (("chosen", chosen), ("rejected", rejected)):
            if response[0]["role"] != "assistant":
                return field, (
                    f"the first message has the role {response[0]['role']!r}; beside a `prompt`, a response begins "
                    "with 'assistant'"
                )
    return None


def _implicit_prompt_problem(chosen, rejected) -> tuple[str, str] | None:
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared == 0:
        return "chosen", "there is no `prompt`, and `chosen` and `rejected` share no beginning that could be one"
    if shared == min(len(chosen), len(rejected)):
        shorter = "chosen" if len(chosen) < len(rejected) else "rejected"
        return shorter, "the whole value is the beginning of the other response, so that nothing is left to compare"
    if isinstance(chosen, str):
        return None
    if chosen[shared - 1]["role"] not in ("user", "tool"):
        return "chosen", (
            f"the shared beginning ends with the role {chosen[shared - 1]['role']!r}; as a prompt it must end with "
            "'user' (or 'tool')"
        )
    for field, response in (("chosen", chosen), ("rejected", rejected)):
        if response[shared]["role"] != "assistant":
            return field, f"the response begins with the role {response[shared]['role']!r}; expected 'assistant'"
    return None


def _last_text(response) -> Any:
    return response if isinstance(response, str) else response[-1].get("content")
