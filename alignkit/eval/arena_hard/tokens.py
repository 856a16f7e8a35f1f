"""Lengths of answers in tokens, as the benchmark counts them, or an approximation that is named where it is not to be had."""

import logging
import math
import os
from collections.abc import Callable

from .versions import Version


logger = logging.getLogger(__name__)

BYTES_PER_TOKEN = 4


def token_counter(version: Version) -> tuple[Callable[[str], int], str]:
    """A function that counts tokens, and its name: tiktoken's vocabulary of the version, or bytes / 4.

    tiktoken downloads the vocabulary at its first use; where that fails or `HF_HUB_OFFLINE` forbids it, one fallback
    counts all answers alike, so that the ratios of lengths keep their meaning.
    """
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE or os.environ.get("TIKTOKEN_CACHE_DIR"):
        try:
            import tiktoken

            encoding = tiktoken.encoding_for_model(version.tokenizer)
            return lambda text: len(encoding.encode(text, disallowed_special=())), f"tiktoken {version.tokenizer}"
        except Exception as error:  # the download raises what its HTTP client raises; all mean: no vocabulary here
            logger.warning("tiktoken's vocabulary of %s cannot be had (%s)", version.tokenizer, type(error).__name__)
    return lambda text: math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN), "bytes / 4 (approximation)"
