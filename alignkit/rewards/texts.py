"""What reward functions read: completions (TRL passes text, or messages whose last one is the answer) and columns."""

from collections.abc import Sequence
from typing import Any

from alignkit.errors import InputError
from alignkit.judges.conversations import content_text


EXCERPT_CHARACTERS = 200


def completion_text(completion: Any) -> str:
    """The completion's text; of messages, that of the last one."""
    if isinstance(completion, str):
        return completion
    return content_text(completion[-1]) if completion else ""


def excerpt(completion: Any) -> str:
    """The completion in one quoted line, cut after `EXCERPT_CHARACTERS`, for a message."""
    try:
        text = completion_text(completion)
    except (TypeError, KeyError, AttributeError):
        text = str(completion)
    return repr(text[:EXCERPT_CHARACTERS]) + (" ..." if len(text) > EXCERPT_CHARACTERS else "")


def closing_brace(text: str, begin: int) -> int | None:
    """Place of the brace that closes the one before `begin`; None where there is none."""
    depth = 1
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return None


def read_column(name: str, column: str, columns: dict[str, Any]) -> Sequence[Any]:
    """The values of a data set column, or `InputError` naming the reward that reads it."""
    if column not in columns:
        raise InputError(
            f"the reward {name} reads the dataset column {column!r}, but the columns are {', '.join(sorted(columns))}"
        )
    return columns[column]
