"""How the report's pictures are made, as inline SVG: drawn 360 px wide, so that they are legible on a telephone, and coloured with
the page's CSS variables, so that they follow dark mode.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.75
# Stand-ins that matplotlib draws with; in the SVG each becomes the CSS variable of the page.
INK, MUTED, BAR = "#010203", "#040506", "#0d0e0f"
RIGHT, WRONG, RIGHT_TEXT, WRONG_TEXT = "#070809", "#0a0b0c", "#101112", "#131415"
# Lines and points of several models; beyond so many the colours start again.
LINES = ("#161718", "#191a1b", "#1c1d1e", "#202122", "#232425", "#262728")
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    BAR: "--bar",
    RIGHT: "--right",
    WRONG: "--wrong",
    RIGHT_TEXT: "--right-text",
    WRONG_TEXT: "--wrong-text",
    **{color: f"--line-{number}" for number, color in enumerate(LINES)},
}


def draw(height: float, paint: Callable[[Figure], None], name: str, description: str) -> str:
    """Make an SVG of what `paint` draws. `name` keeps the ids of several pictures on a page apart."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    # matplotlib numbers its groups anew in every picture; nothing refers to those names.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1)


@dataclass(frozen=True)
class Bar:
    """One bar: a value on the axis with its interval, where it has one, and the text shown at its right."""

    label: str
    value: float
    low: float | None
    high: float | None
    text: str


def bars(rows: list[Bar], axis_label: str, name: str, description: str, right_end: float = 100) -> str:
    """A bar per row, from 0 to `right_end`, with its interval."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            paint_bar(axes, place, row, right_end)
        axes.set_ylim(len(rows) - 0.4, -0.75)
        axes.set_xlim(0, right_end)
        axes.set_yticks([])
        axes.set_xlabel(axis_label)
        axes.spines["left"].set_visible(False)

    return draw(0.6 + 0.5 * len(rows), paint, name, description)


def paint_bar(axes: Axes, place: int, row: Bar, right_end: float) -> None:
    axes.barh(place, row.value, height=0.34, color=BAR)
    if row.low is not None and row.high is not None:
        sides = [[max(row.value - row.low, 0)], [max(row.high - row.value, 0)]]
        axes.errorbar(row.value, place, xerr=sides, color=INK, capsize=3, linewidth=1.2)
    axes.text(0, place - 0.28, shorten_label(row.label), va="bottom", ha="left", color=INK)
    axes.text(right_end, place - 0.28, row.text, va="bottom", ha="right", color=INK)


def shorten_label(label: str, width: int = 38) -> str:
    """The end of a long label: the part that tells models apart. A dollar sign would start matplotlib's mathematics."""
    label = label.replace("$", "\\$")
    return label if len(label) <= width else f"…{label[-width + 1 :]}"
