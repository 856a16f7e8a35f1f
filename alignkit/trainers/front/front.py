"""From the scores of the points to the front: which are not dominated, the hypervolume, the table and the picture."""

import csv
import io
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..iterative.files import publish, temporary_path, write_text
from ..iterative.stages.record import dump


BASE = "base"


def require_moocore():
    """The library that computes fronts and hypervolumes; `InputError` that says how to install it."""
    try:
        import moocore
    except ImportError as error:
        raise InputError(
            f"the front needs moocore ({error}); install it with `pip install 'alignkit[pareto]'`."
        ) from None
    return moocore


def summarise(
    names: list[str], points: list[dict[str, Any]], reference_point: list[float] | None = None
) -> dict[str, Any]:
    """The front of some points (higher is better on every objective), as JSON values.

    Args:
        names: the objectives.
        points: {name, weights, path, scores: {objective: {mean, standard_error, ...}}}; the base model is called "base".
        reference_point: of the hypervolume; None takes the worst score of each objective among the points, so that
            only fronts of the same points can be compared.

    Raises:
        InputError: for a reference point that no point is above on every objective.
    """
    moocore = require_moocore()
    values = [[point["scores"][name]["mean"] for name in names] for point in points]
    chosen = reference_point or [min(column) for column in zip(*values, strict=True)]
    trained = [value for point, value in zip(points, values, strict=True) if point["name"] != BASE]
    base = [value for point, value in zip(points, values, strict=True) if point["name"] == BASE]
    if reference_point and not any(all(a > b for a, b in zip(value, chosen, strict=True)) for value in values):
        raise InputError(
            f"`reference_point` is {reference_point}, and no point is better on both objectives: {values}."
        )
    kept = moocore.is_nondominated(values, maximise=True, keep_weakly=True)

    def volume(front: list[list[float]]) -> float | None:
        return float(moocore.hypervolume(front, ref=chosen, maximise=True)) if front else None

    return {
        "objectives": names,
        "points": [{**point, "non_dominated": bool(flag)} for point, flag in zip(points, kept, strict=True)],
        "hypervolume": volume(trained),
        "hypervolume_of_the_base": volume(base),
        "reference_point": chosen,
        "reference_point_is": "given" if reference_point else "the worst score of each objective among these points",
    }


def write_front(folder: Path, front: dict[str, Any]) -> None:
    """Write `front.json`, `front.csv` and `front.png`."""
    write_text(folder / "front.json", dump(front))
    names, table = front["objectives"], io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    columns = [part for name in names for part in (name, f"{name}_standard_error")]
    writer.writerow(["name", "weight_1", "weight_2", *columns, "non_dominated", "path"])
    for point in front["points"]:
        scores = [value for name in names for value in map(point["scores"][name].get, ("mean", "standard_error"))]
        writer.writerow([point["name"], *point["weights"], *scores, point["non_dominated"], point["path"]])
    write_text(folder / "front.csv", table.getvalue())
    draw(front, temporary_path(folder / "front.png"))
    publish(folder / "front.png")


def draw(front: dict[str, Any], path: Path) -> None:
    """Write the picture: objective against objective, with standard errors, the weight beside each point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    first, second = front["objectives"]
    best = sorted(
        (point for point in front["points"] if point["non_dominated"]), key=lambda p: p["scores"][first]["mean"]
    )
    axes.plot(*([point["scores"][name]["mean"] for point in best] for name in (first, second)), color="#0072B2", lw=1)
    for place, point in enumerate(front["points"]):
        x, y = point["scores"][first], point["scores"][second]
        is_base = point["name"] == BASE
        axes.errorbar(
            x["mean"],
            y["mean"],
            xerr=x["standard_error"] or 0.0,
            yerr=y["standard_error"] or 0.0,
            fmt="s" if is_base else "o",
            color="0.4" if is_base else "#0072B2",
            mfc=None if point["non_dominated"] or is_base else "white",
            capsize=2,
        )
        label = BASE if is_base else f"w = {point['weights'][0]:g}"
        # Neighbouring weights lie close together: one label above, the next below.
        offset = (6, -12 if place % 2 else 5)
        axes.annotate(label, (x["mean"], y["mean"]), textcoords="offset points", xytext=offset, fontsize=8)
    axes.set(xlabel=first, ylabel=second, title="Mean scores and their standard errors; the line joins the front")
    axes.title.set_fontsize(9)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130, format="png")
