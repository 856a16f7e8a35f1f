"""The report's pictures as inline SVG: drawn 360 px wide, so that they are legible on a telephone, and coloured with
the page's CSS variables, so that they follow dark mode.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..results import Comparison, ModelResult, Results
from .view import Lengths


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.75
# Stand-ins that matplotlib draws with; in the SVG each becomes the CSS variable of the page.
INK, MUTED, BAR = "#010203", "#040506", "#0d0e0f"
RIGHT, WRONG, RIGHT_TEXT, WRONG_TEXT = "#070809", "#0a0b0c", "#101112", "#131415"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    BAR: "--bar",
    RIGHT: "--right",
    WRONG: "--wrong",
    RIGHT_TEXT: "--right-text",
    WRONG_TEXT: "--wrong-text",
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
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1)


def accuracy_bars(results: Results) -> str:
    """Accuracy of every model with its interval."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, model in enumerate(results.models):
            paint_bar(axes, place, model)
        axes.set_ylim(len(results.models) - 0.4, -0.75)
        axes.set_xlim(0, 100)
        axes.set_yticks([])
        axes.set_xlabel(f"accuracy, % ({100 * results.settings['confidence']:.0f} % interval)")
        axes.spines["left"].set_visible(False)

    return draw(0.6 + 0.5 * len(results.models), paint, "accuracy", "accuracy of each model with its interval")


def paint_bar(axes: Axes, place: int, model: ModelResult) -> None:
    value, low, high = 100 * model.accuracy, 100 * model.ci_low, 100 * model.ci_high
    axes.barh(place, value, height=0.34, color=BAR)
    axes.errorbar(
        value, place, xerr=[[max(value - low, 0)], [max(high - value, 0)]], color=INK, capsize=3, linewidth=1.2
    )
    axes.text(0, place - 0.28, shorten_label(model.label), va="bottom", ha="left", color=INK)
    axes.text(100, place - 0.28, f"{value:.1f} %", va="bottom", ha="right", color=INK)


def outcome_flow(comparison: Comparison, labels: tuple[str, str]) -> str:
    """How items moved between right and wrong, from the baseline (left) to the model (right)."""
    counts = {
        (True, True): comparison.both_right,
        (True, False): comparison.only_baseline_right,
        (False, True): comparison.only_model_right,
        (False, False): comparison.both_wrong,
    }

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axis("off")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(1.16, -0.18)
        paint_flow(axes, counts)
        for x, side, label in ((0.0, "left", labels[0]), (1.0, "right", labels[1])):
            axes.text(x, -0.1, shorten_label(label, 24), ha=side, va="center", color=INK, weight="bold")
        gained, lost = counts[False, True], counts[True, False]
        axes.text(0.0, 1.08, f"wrong → right {gained}", ha="left", va="center", color=RIGHT_TEXT, weight="bold")
        axes.text(1.0, 1.08, f"right → wrong {lost}", ha="right", va="center", color=WRONG_TEXT, weight="bold")

    name = f"flow-{comparison.model}-{comparison.baseline}"
    return draw(2.5, paint, name, "items that moved between right and wrong")


def paint_flow(axes: Axes, counts: dict[tuple[bool, bool], int]) -> None:
    """Two columns of right and wrong, and a band for each of the four outcomes."""
    import numpy as np

    total = sum(counts.values())
    gap, width = 0.06, 0.05
    scale = (1 - gap) / total
    steps = np.linspace(0, 1, 40)
    ease = steps * steps * (3 - 2 * steps)
    tops = []
    for side in (0, 1):
        right = sum(count for outcome, count in counts.items() if outcome[side]) * scale
        wrong = 1 - gap - right
        tops.append({True: 0.0, False: right + gap})
        x = 0.0 if side == 0 else 1 - width
        for height, top, color, word in ((right, 0.0, RIGHT, "right"), (wrong, right + gap, WRONG, "wrong")):
            if height <= 0:
                continue
            axes.fill_between([x, x + width], top, top + height, color=color, linewidth=0)
            text_x, align = (x + width + 0.02, "left") if side == 0 else (x - 0.02, "right")
            count = round(height / scale)
            axes.text(text_x, top + height / 2, f"{word} {count}", ha=align, va="center", color=INK)
    for (before, after), count in counts.items():
        if not count:
            continue
        height = count * scale
        start, end = tops[0][before], tops[1][after]
        tops[0][before] += height
        tops[1][after] += height
        middle = start + (end - start) * ease
        color, alpha = (MUTED, 0.22) if before == after else (RIGHT if after else WRONG, 0.5)
        x = width + steps * (1 - 2 * width)
        axes.fill_between(x, middle, middle + height, color=color, alpha=alpha, linewidth=0)


def length_histograms(lengths: list[Lengths], max_new_tokens: int) -> str:
    """Tokens per completion, one panel per model; cut-off completions in the colour of wrong."""

    def paint(figure: Figure) -> None:
        import numpy as np

        longest = max([1, *(max([0, *own.finished, *own.truncated]) for own in lengths)])
        bins = np.histogram_bin_edges([0, longest + 1], bins=min(longest + 1, 24))
        panels = list(figure.subplots(len(lengths), 1, sharex=True, squeeze=False)[:, 0])
        for axes, own in zip(panels, lengths, strict=True):
            axes.hist([own.finished, own.truncated], bins=bins, stacked=True, color=[BAR, WRONG])
            axes.set_title(shorten_label(own.label), loc="left", fontsize=9, color=INK)
            axes.yaxis.get_major_locator().set_params(integer=True, nbins=3)
        panels[-1].set_xlabel(f"tokens per completion (at most {max_new_tokens})")

    return draw(0.5 + 0.95 * len(lengths), paint, "lengths", "histogram of completion lengths per model")


def shorten_label(label: str, width: int = 38) -> str:
    """The end of a long label: the part that tells models apart. A dollar sign would start matplotlib's mathematics."""
    label = label.replace("$", "\\$")
    return label if len(label) <= width else f"…{label[-width + 1 :]}"
