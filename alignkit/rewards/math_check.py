"""Is this completion's final answer the gold answer? math-verify behind bounds, for untrusted text.

Runs inside a grading worker only: math-verify's own time-outs are switched off here (they need the main thread and
count a time-out as "unparsable"), and a pathological expression may take for ever; the worker's deadline ends it.
"""

from functools import lru_cache
from typing import Any


# The answer stands at the end, so a longer completion is read from its tail.
MAX_CHARS = 20_000
MAX_DEPTH = 100
MAX_DIGITS = 400
# A longer extracted answer is not shown and casts no vote.
MAX_EXTRACTED_CHARS = 500

OPENING, CLOSING = "([{", ")]}"


def check(gold: str, completion: str, tolerance: float | None = None) -> tuple[bool, str, str | None]:
    """Return (correct, status, extracted answer as text) of one completion.

    Status: "ok" (an answer was found and compared), "unparsable" (none was found), "too_complex" (beyond the bounds,
    not looked at), "bad_gold" (the gold holds no mathematics). `tolerance` also accepts numbers with
    |answer - gold| <= tolerance * |gold|.
    """
    from math_verify import verify

    completion = completion[-MAX_CHARS:]
    if nesting_depth(completion) > MAX_DEPTH or longest_digit_run(completion) > MAX_DIGITS:
        return False, "too_complex", None
    parsed_gold = parse_gold(gold)
    if not parsed_gold:
        return False, "bad_gold", None
    parsed = parse_completion(completion)
    if not parsed:
        return False, "unparsable", None
    text = next((value for value in reversed(parsed) if isinstance(value, str)), None)
    extracted = text if text is not None and len(text) <= MAX_EXTRACTED_CHARS else None
    correct = verify(parsed_gold, parsed, timeout_seconds=None)
    if not correct and tolerance is not None:
        correct = close_numbers(parsed_gold[0], parsed[0], tolerance)
    return bool(correct), "ok", extracted


@lru_cache(maxsize=1024)
def parse_gold(gold: str) -> list[Any]:
    """The gold answer as math-verify sees it: [expression, text], or [text] where it holds no mathematics it knows."""
    from math_verify import parse

    return parse(f"${gold.strip().strip('$')}$", parsing_timeout=None)


def parse_completion(completion: str) -> list[Any]:
    """The answer of a completion: a box first (the last one wins), else the last expression or number."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    targets = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    return parse(completion, extraction_config=targets, parsing_timeout=None)


def close_numbers(gold: Any, answer: Any, tolerance: float) -> bool:
    """Whether two sympy numbers (or equations that end in one) agree within a relative tolerance."""
    try:
        gold_value, value = (float(getattr(side, "rhs", side).evalf()) for side in (gold, answer))
    except (AttributeError, TypeError, ValueError, OverflowError):
        return False
    return abs(value - gold_value) <= tolerance * abs(gold_value)


def nesting_depth(text: str) -> int:
    """The deepest nesting of brackets; a closing one without an opening one counts for nothing."""
    depth = deepest = 0
    for character in text:
        if character in OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif character in CLOSING and depth:
            depth -= 1
    return deepest


def longest_digit_run(text: str) -> int:
    """Length of the longest run of digits."""
    run = longest = 0
    for character in text:
        run = run + 1 if character.isdigit() else 0
        longest = max(longest, run)
    return longest
