r"""Format rewards: 1 where a completion has the form asked for, else 0."""

import re
from collections.abc import Sequence
from typing import Any

from alignkit.errors import InputError

from .answers import boxed_answers
from .texts import completion_text


def boxed_once(completions: Sequence[Any], **columns: Any) -> list[float]:
    r"""1 where the completion has exactly one `\boxed{}`, closed and not empty, else 0."""
    texts = [completion_text(completion) for completion in completions]
    return [float(text.count("\\boxed") == 1 and any(map(str.strip, boxed_answers(text)))) for text in texts]


class ThinkTagsReward:
    """1 where the completion is one thought in tags and then an answer, else 0.

    Args:
        opening, closing: the tags; each must stand exactly once.
        opened_in_prompt: the chat template has written the opening tag already, so that the completion holds none.
    """

    def __init__(self, opening: str = "<think>", closing: str = "</think>", opened_in_prompt: bool = False) -> None:
        if not opening.strip() or not closing.strip() or opening == closing:
            raise InputError(f"think_tags: the tags are {opening!r} and {closing!r}; give two different ones")
        self.opening, self.closing, self.opened_in_prompt = opening, closing, opened_in_prompt
        self.__name__ = "think_tags"

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        return [float(self.has_form(completion_text(completion))) for completion in completions]

    def has_form(self, text: str) -> bool:
        if not self.opened_in_prompt:
            if not text.lstrip().startswith(self.opening):
                return False
            text = text.lstrip()[len(self.opening) :]
        thought, _, answer = text.partition(self.closing)
        others = self.opening in text or self.closing in answer
        return not others and bool(thought.strip()) and bool(answer.strip())


class RegexReward:
    """1 where `pattern` is found in the completion (or is the whole of it), else 0; `.` matches line ends too."""

    def __init__(self, pattern: str, whole: bool = False) -> None:
        try:
            compiled = re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise InputError(f"regex: pattern {pattern!r} is no regular expression: {error}") from error
        self.match = compiled.fullmatch if whole else compiled.search
        self.__name__ = "regex"

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        return [float(self.match(completion_text(completion)) is not None) for completion in completions]
