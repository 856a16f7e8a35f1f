"""The style of an answer: length and markdown, counted and compared as each version does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alignkit.errors import InputError

from .battles import Battles
from .versions import V01, Version


if TYPE_CHECKING:
    import numpy as np

CODE_FENCE = re.compile(r"```[^`]*```")
HEADERS = {f"h{level}": re.compile(rf"^#{{{level}}}\s", re.MULTILINE) for level in range(1, 7)}
# The official patterns begin with `^\s*`, which runs over line ends: on blank lines its time is quadratic. A line's own
# leading blanks are enough: a match that begins on an earlier, blank line is the match of this line.
LISTS = {
    "ordered": re.compile(r"^[^\S\n]*\d+\.\s", re.MULTILINE),
    "unordered": re.compile(r"^[^\S\n]*[-*+]\s", re.MULTILINE),
}
BOLDS = {"**": re.compile(r"\*\*[^*\n]+\*\*"), "__": re.compile(r"__[^_\n]+__")}

# Columns of the covariates that each kind of control uses: length, headers, lists, bold.
CONTROLS = {"style": (0, 1, 2, 3), "length": (0,), "markdown": (1, 2, 3)}
ELEMENTS = ("length", "headers", "lists", "bold")


@dataclass(frozen=True)
class Style:
    """Counts of one answer: tokens, and markdown headers, list items and bold spans outside code."""

    tokens: int
    headers: int
    lists: int
    bold: int


def count_style(text: str) -> dict[str, dict[str, int]]:
    """Markdown counts of an answer in the form of the official files; code fences are taken out first."""
    text = CODE_FENCE.sub("", text)
    groups = {"header_count": HEADERS, "list_count": LISTS, "bold_count": BOLDS}
    return {
        name: {kind: len(pattern.findall(text)) for kind, pattern in patterns.items()}
        for name, patterns in groups.items()
    }


def covariates(
    battles: Battles, styles: Mapping[tuple[str, str], Style], version: Version, control: str
) -> np.ndarray:
    """Standardised style differences [n, k] of candidate minus baseline, one row per battle.

    v0.1: \\( (a - b) / (a + b + 1) \\) of each count, standardised with the population deviation. v2.0: length
    \\( (L_m - L_b) / (L_m + L_b) \\); of the densities \\( \\rho = count / (L + 1) \\) the ratio
    \\( (\\rho_m - \\rho_b) / (\\rho_m + \\rho_b + 1) \\); standardised with the sample deviation. Means and deviations are
    over all battles, a strong verdict counting three times. A difference that is the same in all rows is 0.

    Raises `InputError` naming the answer whose style is not known.
    """
    import numpy as np

    pairs = list(zip(battles.model.tolist(), battles.question.tolist(), strict=True))
    own = np.array([vector(styles, battles.models[m], battles.questions[q]) for m, q in pairs], dtype=float)
    base = np.array([vector(styles, battles.baseline, battles.questions[q]) for _, q in pairs], dtype=float)
    if version is V01:
        raw = (own - base) / (own + base + 1)
    else:
        total = own[:, :1] + base[:, :1]
        length = np.divide(own[:, :1] - base[:, :1], total, out=np.zeros_like(total), where=total > 0)
        density, base_density = own[:, 1:] / (own[:, :1] + 1), base[:, 1:] / (base[:, :1] + 1)
        raw = np.hstack([length, (density - base_density) / (density + base_density + 1)])
    raw = raw[:, CONTROLS[control]]
    count = battles.weight.sum()
    centred = raw - battles.weight @ raw / count
    variance = battles.weight @ centred**2 / (count if version is V01 else count - 1)
    # What is left of a constant column is rounding noise: it must not be blown up to unit size.
    spread = np.sqrt(variance)
    constant = spread <= 1e-12
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))


def vector(styles: Mapping[tuple[str, str], Style], model: str, question: str) -> list[int]:
    """The four counts of one answer."""
    style = styles.get((model, question))
    if style is None:
        raise InputError(
            f"style control needs the style of every answer, but that of {model} to question {question} is missing: "
            "add its line to the --style file"
        )
    return [style.tokens, style.headers, style.lists, style.bold]
