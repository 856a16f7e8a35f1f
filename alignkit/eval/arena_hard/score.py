"""Scoring judgements that exist already: `score("arena_hard_v01", verdicts=..., style_control="style", ...)`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from .battles import Battles, battles_of
from .stored_files import StoredGame, read_battles, read_games, read_styles
from .style import Style
from .table import Scoring, Table, battle_counts, score_battles
from .versions import V01, Version, version_of


logger = logging.getLogger(__name__)


def score(
    suite: str,
    *,
    verdicts: Sequence[str | Path] = (),
    battles: str | Path | None = None,
    style: Sequence[str | Path] = (),
    style_control: str | None = None,
    baseline: str | None = None,
    category: str | None = None,
    optimizer: str = "converged",
    intervals: str | None = None,
    num_resamples: int | None = None,
    confidence: float | None = None,
    seed: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Scores of every model in stored judgements, in percent.

    Args:
        suite: "arena_hard_v01" or "arena_hard_v2".
        verdicts, battles, style: files (see `stored_files`); verdicts or, for v0.1, battles.
        style_control: "style", "length" or "markdown"; None for the plain score.
        baseline: the model that all others met; None: as the rows say, else the official one.
        category: score this category only.
        optimizer, intervals, num_resamples, confidence, seed: see `table.Scoring`.

    Returns:
        By model: `score`, `ci_low`, `ci_high`, `bootstrap_center` (see `table.Row`), `counts`, `style_slopes` and
        `settings`: how they were made. Where the rows are of several categories, each is scored by itself, as
        officially: the figures are those of the headline category (or the first that the model has), and `categories`
        holds them all.

    Raises:
        InputError: naming file, row and field of what is malformed or missing.
    """
    version = version_of(suite)
    scoring = Scoring(style_control, optimizer, intervals, num_resamples, confidence, seed)
    if bool(verdicts) == bool(battles):
        raise InputError("give either --verdicts or --battles: the judgements to score")
    if style_control and not style:
        raise InputError("--style-control needs --style: the style counts of all answers, the baseline's among them")
    if style and not style_control:
        logger.warning("--style is not used: it takes effect with --style-control")
    styles = read_styles([Path(path) for path in style]) if style_control else {}
    if battles:
        if version is not V01:
            raise InputError(f"--battles is a format of {V01.title}: give --verdicts for {version.title}")
        name = baseline or version.baseline(version.headline)
        groups = {version.headline: read_battles(Path(battles), name)}
    else:
        games = read_games([Path(path) for path in verdicts], version)
        groups = group_battles(games, version, baseline, category)
    return combine(groups, version, scoring, styles)


def group_battles(
    games: list[StoredGame], version: Version, baseline: str | None, category: str | None
) -> dict[str, Battles]:
    """The battles of each category, the headline one first. Games of no category are of the headline one."""
    by_category: dict[str, list[StoredGame]] = {}
    for own in games:
        by_category.setdefault(own.category or version.headline, []).append(own)
    if category is not None:
        if category not in by_category:
            raise InputError(f"category is {category!r}: the verdicts are of {', '.join(sorted(by_category))}")
        by_category = {category: by_category[category]}
    baselines = {name: category_baseline(members, name, version, baseline) for name, members in by_category.items()}
    if baseline is not None and baseline not in baselines.values():
        raise InputError(f"baseline is {baseline!r}, but the verdicts are against {', '.join(baselines.values())}")
    order = sorted(by_category, key=lambda name: (name != version.headline, name))
    return {name: battles_of([own.game for own in by_category[name]], baselines[name], version) for name in order}


def category_baseline(members: list[StoredGame], category: str, version: Version, given: str | None) -> str:
    """The baseline of one category: as its rows say, else as given, else the official one."""
    named = sorted({own.baseline for own in members if own.baseline})
    if len(named) > 1:
        raise InputError(f"the verdicts of category {category} are against several baselines: {', '.join(named)}")
    return named[0] if named else given or version.baseline(category)


def combine(
    groups: Mapping[str, Battles], version: Version, scoring: Scoring, styles: Mapping[tuple[str, str], Style]
) -> dict[str, dict[str, Any]]:
    """The entries of `scores.json`, by model."""
    entries: dict[str, dict[str, dict[str, Any]]] = {}
    for category, battles in groups.items():
        table = score_battles(battles, version, scoring, styles) if battles.models else Table({}, {})
        settings = {"category": category, "baseline": battles.baseline, **describe(version, scoring)}
        for name in sorted({*battles.models, *battles.null_games}):
            entries.setdefault(name, {})[category] = {
                **figures(table, battles, name),
                "counts": battle_counts(battles, name),
                "style_slopes": table.slopes,
                "settings": settings,
            }
    return {
        name: {**next(iter(own.values())), **({"categories": own} if len(groups) > 1 else {})}
        for name, own in sorted(entries.items())
    }


def figures(table: Table, battles: Battles, name: str) -> dict[str, float | None]:
    """Score and interval of a model; None where no game of it counts, and a warning."""
    row = table.rows.get(name)
    if row is None:
        logger.warning("%s: none of its games counts (%d without a verdict): no score", name, battles.null_games[name])
        return {"score": None, "ci_low": None, "ci_high": None, "bootstrap_center": None}
    return asdict(row)


def describe(version: Version, scoring: Scoring) -> dict[str, Any]:
    """How figures were made; written beside them."""
    confidence = 1 - 2 * version.tail if scoring.confidence is None else scoring.confidence
    return {
        "version": version.title,
        "style_control": scoring.control,
        "optimizer": scoring.optimizer if scoring.control else None,
        "intervals": scoring.interval_kind,
        "confidence": round(confidence, 6),
        "num_resamples": scoring.resamples(version),
        "seed": scoring.draw_seed(version),
    }
