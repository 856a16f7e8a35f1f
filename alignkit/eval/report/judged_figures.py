"""The pictures of a judged suite: win rates, their price in length, and where they are won."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ..judging.benchmark import Measure
from ..judging.results import JudgedResults
from .drawing import INK, LINES, MUTED, Bar, bars, draw, shorten_label


if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Length differences are cut into so many groups of equal size.
NUM_GROUPS = 8


def headline_bars(results: JudgedResults) -> str:
    """The headline figure of every model with its interval."""
    rows = []
    measure = results.measure
    for own in results.models:
        metric = own.metrics[own.headline]
        value = metric["value"]
        shown = "–" if value is None else f"{value:.1f}{measure.unit}" if measure.unit else f"{value:.2f}"
        rows.append(Bar(own.label, value or 0.0, metric.get("ci_low"), metric.get("ci_high"), shown))
    name = results.models[0].headline.replace("_", " ").replace("winrate", "win rate")
    description = f"{name} of each model with its interval"
    return bars(rows, with_unit(name, measure), f"headline-{results.suite}", description, measure.top)


def with_unit(name: str, measure: Measure) -> str:
    """The label of an axis: in per cent, or out of what."""
    return f"{name},{measure.unit}" if measure.unit else f"{name}, of {measure.top:g}"


def length_pareto(results: JudgedResults) -> str:
    """Win rate (or rating) against mean length, a point per model; the line joins those that no other beats in both (shorter is
    better)."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        points = []
        for place, own in enumerate(results.models):
            value = own.metrics[own.headline]["value"]
            if value is None:
                continue
            points.append((own.mean_length, value))
            axes.plot(own.mean_length, value, "o", color=LINES[place % len(LINES)], label=shorten_label(own.label, 30))
        front = pareto_front(points)
        if len(front) > 1:
            axes.step(*zip(*front, strict=True), where="post", color=MUTED, linewidth=1, linestyle=":")
        axes.margins(0.2)
        axes.set_xlabel("mean length of the answers, characters")
        axes.set_ylabel(with_unit(results.measure.name, results.measure))
        if points:
            axes.legend(frameon=False, labelcolor=INK, fontsize=8)

    description = f"{results.measure.name} of each model against its mean length"
    return draw(2.5, paint, f"pareto-{results.suite}", description)


def pareto_front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (length, win rate) points those that no shorter or equally long one reaches, from short to long."""
    front: list[tuple[float, float]] = []
    for length, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((length, value))
    return front


def win_rate_by_length(points: dict[str, list[tuple[int, float]]]) -> str:
    """Mean share of the win by how much longer the answer is than the baseline's: a judge that likes length rises."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(50, color=MUTED, linewidth=0.8, linestyle=":")
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
        for place, (label, own) in enumerate(points.items()):
            groups = equal_groups(sorted(own), NUM_GROUPS)
            x = [sum(length for length, _ in group) / len(group) for group in groups]
            y = [100 * sum(share for _, share in group) / len(group) for group in groups]
            axes.plot(x, y, "o-", color=LINES[place % len(LINES)], markersize=3, label=shorten_label(label, 30))
        axes.set_ylim(-4, 104)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("characters more than the baseline's answer")
        axes.set_ylabel("win rate, %")
        if any(points.values()):
            axes.legend(frameon=False, labelcolor=INK, fontsize=8)

    name = "-".join(points)
    return draw(2.5, paint, f"by-length-{name}", "win rate by the difference in length to the baseline")


def equal_groups(values: list[tuple[int, float]], count: int) -> list[list[tuple[int, float]]]:
    """At most `count` runs of about equal size."""
    count = min(count, len(values))
    edges = [round(place * len(values) / count) for place in range(count + 1)] if count else []
    return [values[start:end] for start, end in itertools.pairwise(edges)]


def group_dots(results: JudgedResults, column: str) -> str:
    """The win rate (or rating) with its interval per value of a grouping column, a colour per model."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        names = list(dict.fromkeys(name for model in results.models for name in model.groups[column]))
        for place, model in enumerate(results.models):
            color = LINES[place % len(LINES)]
            shift = 0.5 * ((place + 1) / (len(results.models) + 1) - 0.5)
            for row, name in enumerate(names):
                cell = model.groups[column].get(name)
                if cell is None:
                    continue
                axes.plot([cell["ci_low"], cell["ci_high"]], [row + shift] * 2, color=color, linewidth=1.4)
                axes.plot(cell["value"], row + shift, "o", color=color, markersize=4, clip_on=False)
            axes.plot([], [], "o-", color=color, label=shorten_label(model.label, 30))
        axes.set_yticks(range(len(names)), [shorten_label(name, 18) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, results.measure.top)
        axes.set_xlabel(with_unit(results.measure.name, results.measure))
        axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="best")

    height = 1.0 + 0.34 * max(len(model.groups[column]) for model in results.models)
    return draw(height, paint, f"groups-{results.suite}-{column}", f"{results.measure.name} by {column}")
