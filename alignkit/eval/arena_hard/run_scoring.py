"""The figures of judged runs: per category the score, and at equal style where there are enough questions for a fit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..judging.benchmark import BASELINE_FIRST, BOTH, CANDIDATE_FIRST, Figures, JudgedItem, JudgedRun
from ..options import EvalOptions
from .battles import Battles, Game, battles_of, number_names
from .style import Style, count_style
from .table import FIT_RESAMPLES, Scoring, Table, battle_counts, score_battles
from .tokens import token_counter
from .versions import Version


if TYPE_CHECKING:
    pass

# Below so many questions four style slopes say nothing.
MIN_STYLE_QUESTIONS = 100


def score_runs(runs: Sequence[JudgedRun], version: Version, options: EvalOptions) -> list[Figures]:
    """The figures of every model. Strengths and style slopes of all models of a category are fitted together."""
    present = {row.item.extra["category"] for row in runs[0].rows}
    categories = [name for name in version.baselines if name in present]
    metrics: list[dict[str, dict[str, float]]] = [{} for _ in runs]
    counts: list[Counter[str]] = [Counter() for _ in runs]
    notes: list[str] = []
    details: dict[str, Any] = {"intervals": "bootstrap over questions", "categories": categories}
    for category in categories:
        prefix = "" if len(version.baselines) == 1 else f"{category}_"
        battles = category_battles(runs, category, version)
        plain = score_battles(battles, version, scoring(options, None)) if battles.models else Table({}, {})
        controlled, note = style_control(runs, category, battles, version, options)
        notes += [note] if note not in notes else []
        if controlled.slopes:
            details[f"{prefix}style_slopes"] = controlled.slopes
        for place in range(len(runs)):
            own = str(place)
            metrics[place][f"{prefix}score"] = figure(plain, own)
            if controlled.rows:
                metrics[place][f"{prefix}style_controlled"] = figure(controlled, own)
            counts[place].update(battle_counts(battles, own))
    return [
        Figures(
            headline=next(iter(metrics[place])),
            metrics=metrics[place],
            item_values=[item_value(row, version) for row in run.rows],
            counts=dict(counts[place]),
            notes=[*notes],
            details=details,
        )
        for place, run in enumerate(runs)
    ]


def scoring(options: EvalOptions, control: str | None) -> Scoring:
    resamples = min(options.num_resamples, FIT_RESAMPLES) if control else options.num_resamples
    return Scoring(control, num_resamples=resamples, confidence=options.confidence)


def figure(table: Table, model: str) -> dict[str, float]:
    """One metric of a model; NaN where it has no verdict to score."""
    row = table.rows.get(model)
    if row is None:
        return {"value": math.nan, "ci_low": math.nan, "ci_high": math.nan}
    return {"value": row.score, "ci_low": row.ci_low, "ci_high": row.ci_high}


def category_battles(runs: Sequence[JudgedRun], category: str, version: Version) -> Battles:
    """The battles of one category. Models are named by their place among the runs."""
    baseline = version.baseline(category)
    games = []
    local = []
    for place, run in enumerate(runs):
        for row in run.rows:
            if row.item.extra["category"] != category or not row.games:
                continue
            if row.games[0]["order"] == BOTH:
                local.append((str(place), row.item.item_id, row.games[0]["score"]))
            else:
                games.append(Game(str(place), row.item.item_id, verdicts_of(row)))
    if local:
        # A judge of ours gives one probability per question instead of two verdicts.
        null = Counter(model for model, _, share in local if share is None)
        rows = [(model, question, share, 1) for model, question, share in local if share is not None]
        return number_names(rows, baseline, null, null)
    return battles_of(games, baseline, version)


def verdicts_of(row: JudgedItem) -> tuple[str | None, str | None]:
    """The verdicts of a question's two games; None for one that is null or got no reply."""
    found = {record["order"]: record["verdict"] for record in row.games if record["score"] is not None}
    return found.get(BASELINE_FIRST), found.get(CANDIDATE_FIRST)


def item_value(row: JudgedItem, version: Version) -> float | None:
    """The candidate's weighted share of the win on one question; None where nothing counts."""
    if row.games and row.games[0]["order"] == BOTH:
        return row.games[0]["score"]
    own = battles_of([Game("", "", verdicts_of(row))], "baseline", version)
    return float(own.weight @ own.share / own.weight.sum()) if len(own.weight) else None


def style_control(
    runs: Sequence[JudgedRun], category: str, battles: Battles, version: Version, options: EvalOptions
) -> tuple[Table, str]:
    """The scores at equal style, and the sentence that belongs to them."""
    if len(battles.questions) < MIN_STYLE_QUESTIONS:
        return Table({}, {}), (
            f"Style control is left out: it needs {MIN_STYLE_QUESTIONS} questions with verdicts or more."
        )
    styles, counter = run_styles(runs, category, battles.baseline, version)
    table = score_battles(battles, version, scoring(options, "style"), styles)
    return table, (
        f"Style control is a converged fit over the {len(runs)} models given here, lengths by {counter}; the leaderboard "
        "fits its slopes over all of its models, so its style-controlled figures differ."
    )


def run_styles(
    runs: Sequence[JudgedRun], category: str, baseline: str, version: Version
) -> tuple[Mapping[tuple[str, str], Style], str]:
    """The style of every answer of a category, and the name of the token counter."""
    count, counter = token_counter(version)
    styles: dict[tuple[str, str], Style] = {}
    for place, run in enumerate(runs):
        for row in run.rows:
            if row.item.extra["category"] == category:
                styles[str(place), row.item.item_id] = style_of_text(row.answer, count(row.answer))
                if not place:
                    text = row.item.extra["baseline_answer"]
                    styles[baseline, row.item.item_id] = style_of_text(text, count(text))
    return styles, counter


def style_of_text(text: str, tokens: int) -> Style:
    counts = count_style(text)
    return Style(tokens, *(sum(counts[name].values()) for name in ("header_count", "list_count", "bold_count")))
