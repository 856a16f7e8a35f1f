"""The pictures of a graded suite: accuracies, what changed between two models, lengths, and pass@k by k."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results import Comparison, Results
from .drawing import BAR, INK, LINES, MUTED, RIGHT, RIGHT_TEXT, WRONG, WRONG_TEXT, Bar, bars, draw, shorten_label
from .view import Lengths


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def accuracy_bars(results: Results) -> str:
    """Accuracy of every model with its interval."""
    rows = [
        Bar(own.label, 100 * own.accuracy, 100 * own.ci_low, 100 * own.ci_high, f"{100 * own.accuracy:.1f} %")
        for own in results.models
    ]
    axis_label = f"accuracy, % ({100 * results.settings['confidence']:.0f} % interval)"
    return bars(rows, axis_label, "accuracy", "accuracy of each model with its interval")


def pass_at_k_curves(results: Results) -> str:
    """pass@k (solid) and maj@k (dashed) by k, a line per model, named at its end."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        ks = [int(name.split("@")[1]) for name in results.models[0].metrics if name.startswith("pass@")]
        for place, model in enumerate(results.models):
            color = LINES[place % len(LINES)]
            for kind, style in (("pass", "-"), ("maj", "--")):
                values = [100 * model.metrics[f"{kind}@{k}"]["value"] for k in ks]
                axes.plot(ks, values, style, color=color, marker="o", markersize=3, linewidth=1.4)
            axes.plot([], [], "-", color=color, label=shorten_label(model.label, 30))
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.set_xlabel("k (solid: pass@k, dashed: maj@k)")
        axes.set_ylabel("%")
        axes.legend(frameon=False, labelcolor=INK, fontsize=8)

    return draw(2.6, paint, "pass-at-k", "pass at k and majority at k by k")


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
