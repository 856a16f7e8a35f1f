"""What a judge's reply says: the probability of the answer shown first, or a score."""

import json
import math
import re
from typing import Any

from .endpoint import Completion


PARSERS = ("letter", "json", "logprobs")
WORDS = {"a": 1.0, "1": 1.0, "first": 1.0, "b": 0.0, "2": 0.0, "second": 0.0, "c": 0.5, "tie": 0.5, "0": 0.5}
VERDICT = re.compile(r"\[\[\s*(A|B|C|TIE)\s*\]\]", re.IGNORECASE)
VERDICT_FIELDS = ("verdict", "winner", "better", "preference")


def parse_verdict(reply: Completion, parser: str, labels: tuple[str, str] = ("A", "B")) -> float | None:
    """Probability that the answer shown first wins, or None where the reply does not say.

    "letter": the last `[[A]]`, `[[B]]` or `[[C]]` (tie), or a reply that is one such letter. "json": the verdict of the
    last JSON object in the reply. "logprobs": exp(l_A) / (exp(l_A) + exp(l_B)) at the first token, a missing label
    counting as probability 0 (AlpacaEval's rule).
    """
    if parser == "logprobs":
        return first_token_probability(reply, labels)
    text = without_thoughts(reply.text)
    if parser == "json":
        found = last_json_object(text)
        values = [found[name] for name in VERDICT_FIELDS if name in found] if found else []
        return WORDS.get(str(values[0]).strip().lower()) if values else None
    verdicts = VERDICT.findall(text) or [text.strip().strip("[].*")]
    return WORDS.get(verdicts[-1].lower()) if verdicts[-1].upper() in ("A", "B", "C", "TIE") else None


def parse_score(reply: Completion, low: float, high: float) -> float | None:
    """The score in the last JSON object of the reply or its last `[[number]]`; None where it is none in [low, high]."""
    text = without_thoughts(reply.text)
    found = last_json_object(text)
    value: Any = found.get("score") if found else None
    if value is None:
        numbers = re.findall(r"\[\[\s*(-?\d+(?:\.\d+)?)\s*\]\]", text)
        value = numbers[-1] if numbers else None
    try:
        score = float(value)
    except (TypeError, ValueError):
        return None
    return score if low <= score <= high else None


def parse_score_list(reply: Completion, count: int, low: float, high: float) -> list[float] | None:
    """The list under `scores` in the last JSON object of the reply; None unless it is `count` numbers in [low, high]."""
    found = last_json_object(without_thoughts(reply.text))
    values = found.get("scores") if found else None
    if not isinstance(values, list) or len(values) != count or any(isinstance(value, bool) for value in values):
        return None
    try:
        scores = [float(value) for value in values]
    except (TypeError, ValueError):
        return None
    return scores if all(low <= score <= high for score in scores) else None


def first_token_probability(reply: Completion, labels: tuple[str, str]) -> float | None:
    if not reply.top_logprobs:
        return None
    listed = {token.strip(): value for token, value in reversed(reply.top_logprobs[0].items())}
    first, second = (math.exp(listed.get(label, -math.inf)) for label in labels)
    total = first + second
    return first / total if total > 0 else None


def without_thoughts(text: str) -> str:
    """The reply after a `<think>` block; nothing where the block never ends (the reply was cut)."""
    if "</think>" in text:
        return text.rsplit("</think>", 1)[1]
    return "" if "<think>" in text else text


def last_json_object(text: str) -> dict[str, Any] | None:
    """The last JSON object in `text`, whatever stands around it."""
    decoder = json.JSONDecoder()
    found = None
    place = text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except ValueError:
            end = place + 1
        else:
            found = value
        place = text.find("{", end)
    return found
