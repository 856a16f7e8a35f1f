"""Stage `select`: which pairs are easy and which are hard, by the gap of their rewards."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...data.labelling import compute_for, split_pair
from ...errors import InputError
from ...judges import Judge, RecordLog
from ...judges.conversations import digest
from ...judges.resumable import score_rows
from ...objectives.sampling import mpo_split, mpo_threshold
from .config import MPOConfig


logger = logging.getLogger(__name__)

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
# Columns that hold the scores of a pair, the first set that is there; a margin is a pair's gap already.
SCORE_COLUMNS = (("chosen_reward", "rejected_reward"), ("chosen_score", "rejected_score"), ("reward_margin",))

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Selection:
    """The rows of both sets and the facts of the split (JSON values)."""

    easy: Rows
    hard: Rows
    facts: dict[str, Any]


def select(rows: Rows, config: MPOConfig, judge: Judge, log_path: Path, source: str) -> Selection:
    """Split the pairs; a pair without a finite gap is in neither set and is counted.

    `log_path` keeps the scores of a reward that has to be asked, so that a killed run does not ask again. Raises
    `InputError`, naming gamma and the quantiles of the gaps, where one of the sets is empty.
    """
    columns = score_columns(rows, config, source)
    if columns is None:
        chosen, rejected = scored(rows, judge, log_path)
    else:
        logger.info("The reward gaps come from %s.", " and ".join(f"`{name}`" for name in columns))
        chosen, rejected = read_scores(rows, columns, source)
    gaps = mpo_split(chosen, rejected, 0.0, config.selection).gap
    finite = gaps[gaps.isfinite()]
    if len(finite) == 0:
        raise InputError(f"{source}: none of the {len(rows)} pairs has a finite reward gap; check `reward`.")
    threshold = config.threshold
    if threshold is None:
        threshold = max(0.0, mpo_threshold(gaps, config.easy_fraction or 0.5))
    split = mpo_split(chosen, rejected, threshold, config.selection)
    finite_gap = gaps.isfinite()
    easy, hard = split.easy & finite_gap, split.hard & finite_gap
    facts = {
        "threshold": threshold,
        "selection": config.selection,
        "scores_from": "reward" if columns is None else list(columns),
        "pairs": len(rows),
        "easy": int(easy.sum()),
        "hard": int(hard.sum()),
        "not_scored": int((~finite_gap).sum()),
        "gap_quantiles": {f"{level:g}": float(torch.quantile(finite, level)) for level in QUANTILES},
    }
    check_both(facts, config, source)
    easy_rows = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in pick(rows, easy)]
    return Selection(easy_rows, [prompt_row(row) for row in pick(rows, hard)], facts)


def score_columns(rows: Rows, config: MPOConfig, source: str) -> tuple[str, ...] | None:
    """The columns that hold the scores, or None where the reward is to be asked."""
    if config.scores_from == "reward":
        return None
    found = next((names for names in SCORE_COLUMNS if all(name in rows[0] for name in names)), None)
    if found is None and config.scores_from == "columns":
        wanted = "; ".join(" and ".join(names) for names in SCORE_COLUMNS)
        raise InputError(
            f"{source}: `scores_from` is 'columns', but the data set has none of {wanted}; label it first "
            f"(`alignkit label`), or set scores_from: reward."
        )
    return found


def read_scores(rows: Rows, columns: Sequence[str], source: str) -> tuple[list[float], list[float]]:
    """Scores of both responses from the data set; null is a score that is missing (NaN)."""
    values = [[number(row.get(name), index, name, source) for name in columns] for index, row in enumerate(rows)]
    if len(columns) == 1:
        return [value[0] for value in values], [0.0] * len(rows)
    return [value[0] for value in values], [value[1] for value in values]


def number(value: Any, index: int, name: str, source: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(
            f"{source}, row {index} (counted from 0), field `{name}`: {value!r}; expected a number or null."
        )
    return float(value)


def scored(rows: Rows, judge: Judge, log_path: Path) -> tuple[list[float], list[float]]:
    """Scores of both responses by the reward; NaN for both where one of them could not be scored."""
    keys = [digest([row["prompt"], row["chosen"], row["rejected"]]) for row in rows]
    values, _ = score_rows(
        judge, "scores", keys, compute_for(judge, rows), RecordLog(log_path), description="Reward of the pairs"
    )
    judge.unload()
    both = [(math.nan, math.nan) if value is None else (value[0], value[1]) for value in values]
    return [chosen for chosen, _ in both], [rejected for _, rejected in both]


def check_both(facts: dict[str, Any], config: MPOConfig, source: str) -> None:
    """Refuse an empty set: without easy pairs there is no first stage, without hard ones no second."""
    for name, advice in (("easy", "lower"), ("hard", "raise")):
        if facts[name]:
            continue
        quantiles = ", ".join(f"{level}: {value:.4g}" for level, value in facts["gap_quantiles"].items())
        field = "`threshold`" if config.threshold is not None else "the threshold that `easy_fraction` gives"
        raise InputError(
            f"{source}: gamma = {facts['threshold']:.6g} leaves no {name} pair among {facts['pairs']} "
            f"({facts['not_scored']} without a score); quantiles of the {config.selection} reward gap: {quantiles}; "
            f"{advice} {field}."
        )


def pick(rows: Rows, mask: torch.Tensor) -> Rows:
    return [rows[index] for index in mask.nonzero().flatten().tolist()]


def prompt_row(row: dict[str, Any]) -> dict[str, Any]:
    """A hard pair as the second stage sees it: the prompt and what a reward may read, not the stored responses."""
    return {name: value for name, value in row.items() if not name.startswith(("chosen", "rejected"))}


def pair_rows(dataset: Any) -> Rows:
    """The pairs with their prompts apart."""
    return [{**row, **{name: split_pair(row)[name] for name in ("prompt", "chosen", "rejected")}} for row in dataset]


def write_selection(folder: Path, selection: Selection) -> None:
    """Write the three files into an existing folder."""
    from ..iterative.files import write_rows, write_text

    write_rows(folder / "easy.jsonl", selection.easy)
    write_rows(folder / "hard.jsonl", selection.hard)
    write_text(folder / "selection.json", json.dumps(selection.facts, indent=1) + "\n")
