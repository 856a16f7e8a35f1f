"""Where a step ends, on the tokens as they were sampled: text tokenised again may fall into other tokens."""

from typing import Any


class StepSplitter:
    """Splits token sequences after every token that completes the delimiter.

    Args:
        tokenizer: decodes the tokens.
        delimiter: text that ends a step.
    """

    def __init__(self, tokenizer: Any, delimiter: str) -> None:
        self.tokenizer = tokenizer
        self.delimiter = delimiter
        self.last = delimiter[-1]
        self._may_end: dict[int, bool] = {}

    def first_step(self, token_ids: list[int]) -> int:
        """Number of tokens of the first step, its delimiter included; all of them where there is none."""
        for place, token in enumerate(token_ids):
            if self.may_end(token) and self.delimiter in self.tokenizer.decode(token_ids[: place + 1]):
                return place + 1
        return len(token_ids)

    def ends(self, token_ids: list[int]) -> list[int]:
        """Number of tokens up to the end of each step, ascending; the last one is the length of the sequence."""
        ends, start = [], 0
        while start < len(token_ids):
            start += self.first_step(token_ids[start:])
            ends.append(start)
        return ends

    def may_end(self, token: int) -> bool:
        """Whether a token's text can complete the delimiter, so that most tokens need no decoding of what is before."""
        if token not in self._may_end:
            text = self.tokenizer.decode([token])
            # A character of several tokens is not to be seen in any of them.
            self._may_end[token] = self.last in text or not self.last.isascii()
        return self._may_end[token]
