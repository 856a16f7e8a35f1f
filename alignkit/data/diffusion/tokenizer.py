"""A CLIP tokenizer from a hand-written vocabulary: the words of the bundled captions are one token each, any other word is
spelt in letters."""

import itertools
from typing import Any

from .scenes import BACKGROUNDS, COLOURS, SHAPES


WORDS = ("a", "on", *COLOURS, *SHAPES, *BACKGROUNDS)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?-'"
END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 16


def word_merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Byte-pair merges under which every one of `words` becomes one token.

    A word's own merges come after those of the words before it, so that they cannot change how these are merged: at
    every step of an earlier word one of the earlier, and therefore stronger, merges applies.
    """
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = apply_merges([*word[:-1], word[-1] + END_OF_WORD], merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = apply_merges(pieces, merges)
    return merges


def apply_merges(pieces: list[str], merges: list[tuple[str, str]]) -> list[str]:
    """Merge the pair of the lowest rank, wherever it stands, until none applies."""
    while True:
        pairs = set(itertools.pairwise(pieces))
        pair = next((own for own in merges if own in pairs), None)
        if pair is None:
            return pieces
        merged: list[str] = []
        for piece in pieces:
            if merged and (merged[-1], piece) == pair:
                merged[-1] += piece
            else:
                merged.append(piece)
        pieces = merged


def make_tokenizer() -> Any:
    """The `transformers.CLIPTokenizer`; as in CLIP the end token has the highest id and pads."""
    from transformers import CLIPTokenizer

    merges = word_merges(WORDS)
    tokens = [*LETTERS, *(letter + END_OF_WORD for letter in LETTERS), *(first + second for first, second in merges)]
    vocabulary = {token: place for place, token in enumerate([*dict.fromkeys(tokens), START, END])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
