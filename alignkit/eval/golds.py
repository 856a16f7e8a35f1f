"""From a row's answer column to the gold that is graded against. Each benchmark has its own trap."""

import re
from collections.abc import Callable
from typing import Any

from alignkit.rewards.texts import closing_brace


def as_is(value: Any) -> str:
    return str(value).strip()


def after_hashes(value: Any) -> str:
    """GSM8K: what follows the last `####`, without thousands separators."""
    _, marker, after = str(value).rpartition("####")
    if not marker:
        raise ValueError("no #### in it")
    return after.strip().replace(",", "")


def number(value: Any) -> str:
    """AIME and AMC: integers stored as 70, "204" or 27.0."""
    parsed = float(value)
    if not parsed.is_integer():
        return str(value).strip()
    return str(int(parsed))


def last_box(value: Any) -> str:
    r"""Minerva: the content of the last `\boxed{}` of a worked solution; a text without any is the gold itself."""
    text = str(value)
    start = text.rfind("\\boxed{")
    if start < 0:
        if "\\boxed" in text or len(text) > 200:
            raise ValueError("no \\boxed{} in it")
        return text.strip()
    begin = start + len("\\boxed{")
    end = closing_brace(text, begin)
    if end is None:
        raise ValueError("its last \\boxed{ is not closed")
    return without_dollars(text[begin:end])


def final_answers(value: Any) -> str:
    """OlympiadBench: a list whose first entry is the answer, or several separated by commas."""
    answers = value if isinstance(value, list) else [value]
    if not answers:
        raise ValueError("the list is empty")
    return without_dollars(str(answers[0])).rstrip(". ")


def without_dollars(text: str) -> str:
    """The text without mathematics delimiters, some of which stand astray in published golds; `\\$` stays."""
    return re.sub(r"(?<!\\)\$", "", text).strip()


GOLD_RULES: dict[str, Callable[[Any], str]] = {
    "as_is": as_is,
    "after_hashes": after_hashes,
    "number": number,
    "last_box": last_box,
    "final_answers": final_answers,
}
