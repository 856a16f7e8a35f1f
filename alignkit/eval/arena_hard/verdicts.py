"""The five verdicts, and how each version reads one out of a judge's reply."""

import re
from dataclasses import dataclass

from .versions import STRONG_WEIGHT, V01, Version


# Share of the win that goes to answer A, and the number of identical battles that the verdict counts as.
VERDICTS: dict[str, tuple[float, int]] = {
    "A>>B": (1.0, STRONG_WEIGHT),
    "A>B": (1.0, 1),
    "A=B": (0.5, 1),
    "B>A": (0.0, 1),
    "B>>A": (0.0, STRONG_WEIGHT),
}
# The same five written from the other side. The judge is not asked for them, but v2.0's scoring knows them.
MIRRORED = {"B<<A": "A>>B", "B<A": "A>B", "B=A": "A=B", "A<B": "B>A", "A<<B": "B>>A"}

DOUBLE_BRACKETS = re.compile(r"\[\[([AB<>=]+)\]\]")
SINGLE_BRACKETS = re.compile(r"\[([AB<>=]+)\]")


@dataclass(frozen=True)
class Reading:
    """What a reply says: one of `VERDICTS`, or None and why.

    `reason` is "" for a verdict, "missing" where no label stands, "conflict" where two labels contradict each other
    (v0.1), "unknown" for a label that is none of the five.
    """

    verdict: str | None
    reason: str = ""


def parse_verdict(text: str, version: Version) -> Reading:
    """Read the verdict of a judge's reply as the version's own code does.

    v0.1: all double-bracketed labels must be equal; where they differ the game is null. v2.0: upper-cased, the last
    double-bracketed label counts, and where there is none the last one in single brackets.
    """
    if version is V01:
        labels = DOUBLE_BRACKETS.findall(text)
        if len(set(labels)) > 1:
            return Reading(None, "conflict")
    else:
        text = text.upper()
        labels = DOUBLE_BRACKETS.findall(text) or SINGLE_BRACKETS.findall(text)
    if not labels:
        return Reading(None, "missing")
    return known_label(labels[-1], version)


def known_label(label: str, version: Version) -> Reading:
    """A label as one of `VERDICTS`; v2.0 also takes the mirrored forms, v0.1 counts them as nothing."""
    if version is not V01:
        label = MIRRORED.get(label, label)
    return Reading(label) if label in VERDICTS else Reading(None, "unknown")
