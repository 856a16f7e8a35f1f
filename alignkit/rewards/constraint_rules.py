"""Constraints that need no model: pattern, length, words. Each gives true, false, or None where it does not apply."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from .texts import completion_text, read_column


LENGTH_UNITS = ("tokens", "words", "characters")
# How a model says that it will not help; words of these are looked for, case aside.
REFUSALS = (
    "I can't",
    "I cannot",
    "I can not",
    "I'm unable to",
    "I am unable to",
    "I won't",
    "I'm not able to",
    "I am not able to",
    "As an AI",
)


class PatternConstraint:
    """Satisfied where `pattern` is found in the completion; with `forbidden`, where it is not.

    Args:
        pattern: regular expression; `.` matches line ends too.
        column: takes the pattern from this column of the row instead; a row without one is under no constraint.
        whole: the pattern must match the whole completion.
        forbidden: the pattern must not be there.
    """

    def __init__(
        self, pattern: str | None = None, column: str | None = None, whole: bool = False, forbidden: bool = False
    ) -> None:
        if (pattern is None) == (column is None):
            raise InputError("pattern: give one of `pattern` and `column`")
        self.pattern = None if pattern is None else compiled(pattern, "pattern")
        self.column, self.whole, self.forbidden = column, whole, forbidden
        self.__name__ = "pattern"

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[bool | None]:
        patterns: Sequence[Any] = [self.pattern] * len(completions)
        if self.column is not None:
            given = read_column(self.__name__, self.column, columns)
            patterns = [compiled(item, f"column {self.column!r}") if item else None for item in given]
        return [self.verdict(pattern, item) for pattern, item in zip(patterns, completions, strict=True)]

    def verdict(self, pattern: re.Pattern[str] | None, completion: Any) -> bool | None:
        if pattern is None:
            return None
        match = pattern.fullmatch if self.whole else pattern.search
        return (match(completion_text(completion)) is not None) != self.forbidden


class LengthConstraint:
    """Satisfied where the completion has at least `minimum` and at most `maximum` tokens, words or characters.

    Args:
        minimum, maximum: bounds, inclusive; at least one of them.
        unit: `"tokens"` (the end token counts), `"words"` or `"characters"`.
        column: takes the maximum from this column of the row instead; a row without one is under no constraint.
    """

    def __init__(
        self,
        minimum: int | None = None,
        maximum: int | None = None,
        unit: str = "tokens",
        column: str | None = None,
    ) -> None:
        if unit not in LENGTH_UNITS:
            raise InputError(f"length: unit is {unit!r}; it must be one of {', '.join(LENGTH_UNITS)}")
        if minimum is None and maximum is None and column is None:
            raise InputError("length: give `minimum`, `maximum` or `column`")
        if maximum is not None and column is not None:
            raise InputError("length: give one of `maximum` and `column`")
        if (minimum or 0) < 0 or (maximum is not None and maximum < (minimum or 0)):
            raise InputError(f"length: minimum is {minimum} and maximum {maximum}; 0 <= minimum <= maximum is needed")
        self.minimum, self.maximum, self.unit, self.column = minimum or 0, maximum, unit, column
        self.__name__ = "length"

    def __call__(
        self, completions: Sequence[Any], completion_ids: Sequence[Sequence[int]], **columns: Any
    ) -> list[bool | None]:
        limits: Sequence[Any] = [self.maximum] * len(completions)
        if self.column is not None:
            limits = read_column(self.__name__, self.column, columns)
        lengths = [self.measure(*pair) for pair in zip(completions, completion_ids, strict=True)]
        return [self.verdict(length, limit) for length, limit in zip(lengths, limits, strict=True)]

    def measure(self, completion: Any, ids: Sequence[int]) -> int:
        if self.unit == "tokens":
            return len(ids)
        text = completion_text(completion)
        return len(text.split()) if self.unit == "words" else len(text)

    def verdict(self, length: int, limit: int | None) -> bool | None:
        if self.column is not None and limit is None:
            return None
        return self.minimum <= length and (limit is None or length <= limit)


class WordsConstraint:
    """Satisfied where none of the words in `forbidden` (and in `file`) and all of those in `required` occur.

    A word may be a phrase. Case does not count, and a word is found only between word boundaries: `ass` is not in `class`.

    Args:
        forbidden, required: lists of words.
        file: text file with one forbidden word a line; empty lines and those that begin with # do not count.
    """

    def __init__(
        self,
        forbidden: Sequence[str] | None = None,
        required: Sequence[str] | None = None,
        file: str | None = None,
    ) -> None:
        banned = [*as_words("forbidden", forbidden), *(read_words(file) if file is not None else [])]
        wanted = as_words("required", required)
        if not banned and not wanted:
            raise InputError("words: no word is given; give `forbidden`, `required` or `file`")
        self.forbidden = any_of(banned) if banned else None
        self.required = [any_of([word]) for word in wanted]
        self.__name__ = "words"

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[bool]:
        return [self.verdict(completion_text(item)) for item in completions]

    def verdict(self, text: str) -> bool:
        if self.forbidden is not None and self.forbidden.search(text):
            return False
        return all(word.search(text) for word in self.required)


class NoRefusalConstraint(WordsConstraint):
    """Satisfied where the completion holds none of the usual sentences of a refusal, or of those in `phrases`."""

    def __init__(self, phrases: Sequence[str] | None = None) -> None:
        super().__init__(forbidden=REFUSALS if phrases is None else phrases)
        self.__name__ = "no_refusal"


def compiled(pattern: Any, where: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL)
    except (re.error, TypeError) as error:
        raise InputError(f"{where}: {pattern!r} is no regular expression: {error}") from error


def as_words(name: str, words: Any) -> list[str]:
    """A list of words; a single one may stand alone."""
    listed = [words] if isinstance(words, str) else list(words or [])
    for word in listed:
        if not isinstance(word, str) or not word.strip():
            raise InputError(f"words: `{name}` holds {word!r}; expected words that are not empty")
    return listed


def read_words(file: str) -> list[str]:
    """The words in a file, one a line."""
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"words: the file {file} cannot be read ({error})") from None
    words = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not words:
        raise InputError(f"words: the file {file} holds no word")
    return words


def any_of(words: Sequence[str]) -> re.Pattern[str]:
    """Any of the words, between word boundaries; curly apostrophes are read as straight ones' equals."""
    parts = [r"\s+".join(map(re.escape, word.split())).replace("'", "['’]") for word in words]
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE)
