"""An image suite in the reports: figures, and the same captions and seeds of all models side by side."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.generation.image_grid import image_grid

from ..image_reward.planning import caption
from ..image_reward.results import ImageResults
from ..image_reward.scoring import Scored, read_scores
from ..plan import Plan
from .drawing import Bar, bars
from .formatting import escape, percent, row, table_head
from .page import Section, settings_rows, template


# Images of a caption that are shown, and the longest side that they are shown at, in pixels.
SHOWN = 4
THUMBNAIL = 256
GRID_FILE = "images.png"


@dataclass(frozen=True)
class Column:
    """One model's images of one caption: data URLs, and the mean score of all of them."""

    label: str
    images: list[str]
    score: float
    is_best: bool


@dataclass(frozen=True)
class Example:
    """One caption with every model's images."""

    item_id: str
    caption: str
    columns: list[Column]


def image_section(plan: Plan, folder: Path, results: ImageResults) -> Section:
    """Both renderings of an image suite; the Markdown one shows `images.png`, which is written here."""
    rows = [read_scores(plan, run, folder) for run in plan.runs]
    labels = [model.label for model in results.models]
    places = choose_captions(len(plan.items), plan.options.num_examples)
    if places:
        write_grid(rows, labels, places, folder)
    highest = max(model.ci_high for model in results.models)
    figure = None
    if min(model.ci_low for model in results.models) >= 0 and highest > 0:
        lines = [Bar(own.label, own.reward, own.ci_low, own.ci_high, f"{own.reward:.4g}") for own in results.models]
        end = 1.0 if results.unit == "0 to 1" else 1.05 * highest
        figure = bars(lines, f"mean reward, {results.unit}", "reward", "mean reward of each model", end)
    html = template("images.html.j2").render(
        results=results,
        warnings=warnings_of(results),
        parts=list(results.models[0].parts),
        figure=figure,
        examples=[make_example(rows, labels, place, folder) for place in places],
        shown=min(SHOWN, plan.n_samples),
        settings=settings_rows(results.settings, results.versions),
    )
    headlines = {own.label: f"{own.reward:.4f} ({own.ci_low:.4f} to {own.ci_high:.4f})" for own in results.models}
    return Section(results.suite, results.title, html, render_markdown(results, bool(places)), headlines)


def choose_captions(count: int, wanted: int) -> list[int]:
    """`wanted` places, evenly spread."""
    wanted = min(count, wanted)
    return [count * place // wanted for place in range(wanted)]


def make_example(rows: list[Scored], labels: list[str], place: int, folder: Path) -> Example:
    means = [sum(grade["score"] for grade in scored[place][2]) / len(scored[place][2]) for scored in rows]
    columns = [
        Column(
            label,
            [data_url(folder / record["image"]) for record in scored[place][1][:SHOWN]],
            mean,
            len(rows) > 1 and mean == max(means),
        )
        for label, scored, mean in zip(labels, rows, means, strict=True)
    ]
    item = rows[0][place][0]
    return Example(item.item_id, caption(item), columns)


def write_grid(rows: list[Scored], labels: list[str], places: list[int], folder: Path) -> None:
    """Write the first image of the chosen captions, a column per model, as one PNG."""
    pictures = [[open_image(folder / scored[place][1][0]["image"]) for scored in rows] for place in places]
    grid = image_grid(pictures, [caption(rows[0][place][0]) for place in places], labels)
    temporary = folder / f".{GRID_FILE}.tmp"
    grid.save(temporary, format="PNG")
    os.replace(temporary, folder / GRID_FILE)


def open_image(path: Path) -> Any:
    """An image, reduced to the size that it is shown at."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image


def data_url(path: Path) -> str:
    """An image as text that a page can hold."""
    stream = io.BytesIO()
    open_image(path).save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def warnings_of(results: ImageResults) -> list[str]:
    """One plain sentence for everything that makes the figures mean less than they seem to."""
    limit = results.settings["limit"]
    found = [f"Only the first {limit} captions were drawn."] if limit is not None else []
    if results.models[0].n < 10:
        found.append(f"There are only {results.models[0].n} captions: the intervals are rough.")
    return found


def render_markdown(results: ImageResults, has_grid: bool) -> str:
    """The Markdown report."""
    parts = list(results.models[0].parts)
    confidence = percent(results.settings["confidence"], 0)
    lines = [f"# {results.title}", ""]
    lines += [own for warning in warnings_of(results) for own in (f"> {warning}", "")]
    lines += [f"Mean score of {results.settings['scorer']} ({results.unit}) over {results.models[0].n} captions.", ""]
    lines += table_head(["model", "reward", f"{confidence} interval", "images", *parts])
    for own in results.models:
        cells = [
            escape(own.label),
            f"**{own.reward:.4f}**",
            f"{own.ci_low:.4f} to {own.ci_high:.4f}",
            str(own.n_images),
        ]
        lines.append(row([*cells, *(f"{own.parts[name]:.2f}" for name in parts)]))
    if results.comparisons:
        lines += ["", "## Paired by caption and seed", ""]
        lines += table_head(["model", "against", "difference", f"{confidence} interval", "images that score higher"])
        for pair in results.comparisons:
            names = escape(results[pair.model].label), escape(results[pair.baseline].label)
            interval = f"{pair.ci_low:+.4f} to {pair.ci_high:+.4f}"
            lines.append(row([*names, f"**{pair.difference:+.4f}**", interval, percent(pair.share_better, 0)]))
    if has_grid:
        lines += ["", "## Images", "", f"![the first image of each caption, a column per model]({GRID_FILE})"]
    lines += ["", "## Settings", ""]
    lines += [f"- {name}: {escape(str(value))}" for name, value in settings_rows(results.settings, results.versions)]
    for own in results.models:
        adapter = f" (LoRA on {escape(own.base)})" if own.base else ""
        lines.append(f"- {escape(own.label)}{adapter}: run {own.fingerprint}, model {own.model_fingerprint}")
    return "\n".join(lines) + "\n"
