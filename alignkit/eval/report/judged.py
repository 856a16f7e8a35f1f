"""A judged suite in the reports: figures, warnings, and sample answers side by side with their verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..judging.benchmark import ALONE, JudgedItem, JudgedRun, Measure
from ..judging.results import JudgedModel, JudgedResults
from ..judging.stage import read_judgments
from .judged_figures import group_dots, headline_bars, length_pareto, win_rate_by_length
from .judged_markdown import render_judged_markdown
from .page import Section, settings_rows, template
from .view import MAX_TAIL, MAX_TRUNCATED, WORTH_A_WARNING, shorten


if TYPE_CHECKING:
    from ..plan import Plan

MAX_NULLS = 5


@dataclass(frozen=True)
class JudgedAnswer:
    """One model's answer to one item, what the judge said, and how much of it; `earlier` are its own answers to the
    turns before."""

    label: str
    earlier: list[str]
    text: str
    verdict: str
    outcome: str
    n_tokens: int
    truncated: bool


@dataclass(frozen=True)
class JudgedExample:
    """One item: what the user says, the baseline's answer (where there is one) and every model's, side by side."""

    item_id: str
    prompt: list[dict[str, str]]
    baseline: str
    baseline_answer: str
    answers: list[JudgedAnswer]


@dataclass(frozen=True)
class JudgedView:
    """What the section shows beside the figures. `points[m]` are (length difference, share of the win) by item."""

    warnings: list[str]
    examples: list[JudgedExample]
    cut_off: dict[str, list[tuple[str, str]]]
    nulls: dict[str, list[tuple[str, str, str]]]
    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


def judged_section(plan: Plan, folder: Path, results: JudgedResults) -> Section:
    """Both renderings of a judged suite."""
    runs = read_judgments(plan, folder)
    view = build_judged_view(plan, results, runs)
    measure = results.measure
    name = measure.name.capitalize()
    by_length = (
        [(f"{name} by difference in length", win_rate_by_length(view.points))] if plan.benchmark.pairwise else []
    )
    html = template("judged.html.j2").render(
        results=results,
        view=view,
        metric_names=metric_names(results),
        pairwise=plan.benchmark.pairwise,
        signed="%+.1f" if measure.unit else "%+.2f",
        format_metric=partial(format_metric, unit=measure.unit),
        title_of=title_of,
        settings=settings_rows({**results.settings, **results.judge}, results.versions),
        figures=[
            (name, headline_bars(results)),
            (f"{name} against length", length_pareto(results)),
            *by_length,
            *(("By " + column, group_dots(results, column)) for column in results.models[0].groups if column),
        ],
    )
    headlines = {
        model.label: f"{format_metric(model.metrics[model.headline], measure.unit)} ({title_of(model.headline)})"
        for model in results.models
    }
    return Section(results.suite, results.title, html, render_judged_markdown(results, view), headlines)


def build_judged_view(plan: Plan, results: JudgedResults, runs: list[JudgedRun]) -> JudgedView:
    """Choose and shape what is shown."""
    labels = [model.label for model in results.models]
    cut_off, nulls, points = {}, {}, {}
    for label, run in zip(labels, runs, strict=True):
        cut = [row for row in run.rows if row.generation["finish_reason"] == "length"]
        if cut:
            cut_off[label] = [(row.item.item_id, row.answer[-MAX_TAIL:]) for row in cut[:MAX_TRUNCATED]]
        silent = [(row, game) for row in run.rows for game in row.games if game["score"] is None]
        if silent:
            nulls[label] = [
                (row.item.item_id, str(game["error"]), shorten(str(game["raw_text"])))
                for row, game in silent[:MAX_NULLS]
            ]
        points[label] = [
            (len(row.answer) - len(plan.benchmark.baseline_answer(row.item)), share)
            for row in run.rows
            if (share := mean_share(row)) is not None
        ]
    examples = [
        make_example(plan, labels, [run.rows[place] for run in runs], results.measure)
        for place in choose_items(runs, plan.options.num_examples, results.measure)
    ]
    return JudgedView(judged_warnings(results), examples, cut_off, nulls, points)


def mean_share(row: JudgedItem) -> float | None:
    """The candidate's mean share (or rating) over the games of an item; None without a verdict."""
    scores = [game["score"] for game in row.games if game["score"] is not None]
    return sum(scores) / len(scores) if scores else None


def choose_items(runs: list[JudgedRun], count: int, measure: Measure) -> list[int]:
    """Places of the items to show: by the last model's verdicts, lost, won and in doubt in turn."""
    piles: dict[str, list[int]] = {"lost": [], "won": [], "open": []}
    for place, row in enumerate(runs[-1].rows):
        piles[outcome_of(row, measure)].append(place)
    chosen: list[int] = []
    while len(chosen) < count and any(piles.values()):
        for pile in piles.values():
            if pile and len(chosen) < count:
                chosen.append(pile.pop(0))
    return chosen


def outcome_of(row: JudgedItem, measure: Measure) -> str:
    share = mean_share(row)
    if share is None or share == measure.middle:
        return "open"
    return "won" if share > measure.middle else "lost"


def make_example(plan: Plan, labels: list[str], rows: list[JudgedItem], measure: Measure) -> JudgedExample:
    item = rows[0].item
    return JudgedExample(
        item_id=item.item_id,
        prompt=[message for message in item.prompt if message["role"] != "assistant"],
        baseline=plan.benchmark.baseline_name(item),
        baseline_answer=shorten(plan.benchmark.baseline_answer(item)),
        answers=[
            JudgedAnswer(
                label,
                [shorten(message["content"]) for message in row.item.prompt if message["role"] == "assistant"],
                shorten(row.answer),
                describe_verdict(row, measure),
                outcome_of(row, measure),
                row.generation["n_tokens"],
                row.generation["finish_reason"] == "length",
            )
            for label, row in zip(labels, rows, strict=True)
        ],
    )


def describe_verdict(row: JudgedItem, measure: Measure) -> str:
    """What the judge said, in the order of the games; the number is the candidate's share of the win."""
    if not row.games:
        return "no verdict needed: same answer, or no reply"
    parts = []
    for game in row.games:
        if game["order"] == ALONE:
            rated = game["score"] is not None
            parts.append(f"rated {game['score']:g} of {measure.top:g}" if rated else f"no rating ({game['error']})")
            continue
        order = {"ab": "baseline shown first", "ba": "shown first", "both": "both orders"}[game["order"]]
        if game["score"] is None:
            parts.append(f"no verdict ({order}: {game['error']})")
        else:
            label = f"{game['verdict']}, " if game["verdict"] else ""
            parts.append(f"{label}{100 * game['score']:.0f} % ({order})")
    return "; ".join(parts)


def judged_warnings(results: JudgedResults) -> list[str]:
    """One plain sentence for everything that makes the figures mean less than they seem to."""
    limit, size = results.settings["limit"], results.settings["suite_size"]
    turns = results.settings.get("turns", 1)
    warnings = list(results.notes)
    if limit is not None and limit < size:
        items = "items" if turns == 1 else "questions"
        warnings.append(f"Only the first {limit} of {size} {items} were judged: not the suite's figure.")
    elif results.models[0].n != size * turns:
        warnings.append(f"The data hold {results.models[0].n} items; the suite has {size * turns}.")
    # What is true of every model is said once.
    times = Counter(note for model in results.models for note in set(model.notes))
    warnings += [note for note in results.models[0].notes if times[note] == len(results.models)]
    for model in results.models:
        warnings += [f"{model.label}: {note}" for note in model.notes if times[note] < len(results.models)]
        warnings += truncation_warning(model, results.settings["sampling"]["max_new_tokens"])
    return warnings


def truncation_warning(model: JudgedModel, max_new_tokens: int) -> list[str]:
    if model.n_truncated <= WORTH_A_WARNING * model.n:
        return []
    return [
        f"{model.label}: {model.n_truncated} of {model.n} answers were cut off ({max_new_tokens} new tokens at most): a "
        "judge sees them end in the middle of a sentence."
    ]


def metric_names(results: JudgedResults) -> list[str]:
    return list(dict.fromkeys(name for model in results.models for name in model.metrics))


def title_of(name: str) -> str:
    return name.replace("_", " ").replace("winrate", "win rate")


def format_metric(metric: dict[str, Any] | None, unit: str) -> str:
    """A figure with its unit and its interval, where it has one."""
    if metric is None or metric["value"] is None:
        return "–"
    low, high = metric.get("ci_low"), metric.get("ci_high")
    digits = 1 if unit else 2
    interval = f" ({low:.{digits}f} to {high:.{digits}f})" if low is not None and high is not None else ""
    return f"{metric['value']:.2f}{unit}{interval}"
