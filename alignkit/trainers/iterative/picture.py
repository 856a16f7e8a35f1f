"""The picture of a run: win rates, KL and length against the iteration."""

from pathlib import Path

from .state import LoopState


def draw(state: LoopState, path: Path) -> None:
    """Write a PNG of the history so far; iteration 0 is the first policy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    history = state.history
    steps = [entry["iteration"] for entry in history]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)

    def curve(axes, name: str, label: str, marker: str, begin: int = 0) -> None:
        points = [(entry["iteration"], entry.get(name)) for entry in history[begin:]]
        points = [(step, value) for step, value in points if value is not None]
        axes.plot(*zip(*points, strict=True), marker=marker, label=label) if points else None

    curve(left, "win_rate_vs_first", "against the first policy", "o")
    curve(left, "win_rate_vs_previous", "against the one before", "s", begin=1)
    left.axhline(0.5, color="0.6", linewidth=0.8, linestyle="--")
    left.set(title="Win rate", ylim=(0, 1), ylabel="probability")
    left.legend(loc="lower right", fontsize=8)
    curve(middle, "kl_to_first", "KL", "o")
    middle.set(title="KL to the first policy", ylabel="nats per response")
    curve(right, "length", "length", "o")
    right.set(title="Length of the responses", ylabel="tokens")
    right.set_ylim(0, 1.15 * max(entry["length"] for entry in history) or 1)
    for axes in (left, middle, right):
        axes.set_xlabel("iteration")
        axes.set_xticks(steps)
        axes.grid(alpha=0.3)
    figure.suptitle(f"{state.method}, {state.iteration} of {state.num_iterations} iterations", fontsize=11)
    figure.savefig(path, dpi=120, format="png")
