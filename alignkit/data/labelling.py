"""Add a judge's opinion to preference pairs: reward margins, scores or win rates; cached, resumable, identified."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..judges import Judge, RecordLog, ScoringJudge
from ..judges.conversations import digest
from ..judges.records import write_atomically
from ..judges.resumable import BLOCK_ROWS, failed_rows_message, score_rows
from .formats import column_specs
from .validation import validate_rows


logger = logging.getLogger(__name__)

LABEL_COLUMNS = {
    "margins": ("reward_margin",),
    "scores": ("chosen_score", "rejected_score"),
    "win_rates": ("chosen_win_rate", "rejected_win_rate"),
}
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


class Labelled(NamedTuple):
    """A data set with its new columns, and the facts of the labelling (JSON values)."""

    dataset: Any
    report: dict[str, Any]


def label_margins(dataset: Any, judge: Judge, **options: Any) -> Labelled:
    """Add `reward_margin`, reward(chosen) - reward(rejected), in the units of the judge's scores. See `label`."""
    return label(dataset, judge, "margins", **options)


def label_scores(dataset: Any, judge: Judge, **options: Any) -> Labelled:
    """Add `chosen_score` and `rejected_score`, in the units of the judge's scores. See `label`."""
    return label(dataset, judge, "scores", **options)


def label_win_rates(dataset: Any, judge: Judge, **options: Any) -> Labelled:
    r"""Add `chosen_win_rate`, the probability that chosen beats rejected, and `rejected_win_rate`, 1 minus it.

    From a judge with scores \( \sigma(s_c - s_r) \) (Bradley-Terry; 0, 1/2, 1 from a rule), else what the pairwise judge
    says. See `label`.
    """
    return label(dataset, judge, "win_rates", **options)


def label(
    dataset: Any,
    judge: Judge,
    kind: str,
    *,
    cache: str | os.PathLike[str] | None = None,
    tau: float | None = None,
    overwrite: bool = False,
    drop_failed: bool = False,
    source: str = "the data set",
    block_rows: int = BLOCK_ROWS,
) -> Labelled:
    """Add the columns `LABEL_COLUMNS[kind]` to a data set of preference pairs (plain or conversational).

    Args:
        dataset: `datasets.Dataset` with `chosen`, `rejected` and mostly `prompt`.
        judge: for "margins" and "scores" one with scores.
        cache: append-only JSONL of finished rows, keyed by the judge's fingerprint and the row's content; a killed run
            goes on from it and gives the same data set. None: nothing is kept.
        tau: also report the share of margins at or below -tau (MADPO's threshold).
        overwrite: replace columns of these names; otherwise they are refused.
        drop_failed: leave out rows without a finite score, counted in the report; otherwise they are refused.
        source: name of the data set in messages.
        block_rows: rows that are scored and recorded together.

    Raises:
        InputError: naming the row and field of a malformed pair, the first row without a finite score, a column that
            exists, or a judge without scores.
    """
    if kind not in LABEL_COLUMNS:
        raise InputError(f"the label is {kind!r}: it must be one of {', '.join(LABEL_COLUMNS)}")
    if kind != "win_rates" and not judge.has_scores:
        raise InputError(f"{kind} need a judge with scores; {type(judge).__name__} compares only (it gives win_rates)")
    if tau is not None and not (tau > 0 and judge.has_scores):
        problem = "it must be above 0" if judge.has_scores else "it is a margin, and this judge gives none"
        raise InputError(f"tau is {tau}: {problem}")
    present = [name for name in LABEL_COLUMNS[kind] if name in dataset.column_names]
    if present and not overwrite:
        raise InputError(f"{source}: the column `{present[0]}` exists already; rename it, or allow to overwrite it")
    validate_rows(dataset, column_specs(("prompt", "chosen", "rejected")), source=source)

    pairs = [split_pair(row) for row in dataset.select_columns(pair_columns(dataset))]
    values, recorded = score_rows(
        judge,
        "scores" if judge.has_scores else "win_rate",
        [digest([pair["prompt"], pair["chosen"], pair["rejected"]]) for pair in pairs],
        compute_for(judge, pairs),
        RecordLog(cache),
        block_rows,
        description="Labelling",
    )
    failed = [index for index, value in enumerate(values) if value is None]
    if failed and not drop_failed:
        retry = "the finished rows are kept, so run again to retry, or " if cache else ""
        advice = f"{retry}leave such rows out with drop_failed"
        raise InputError(failed_rows_message(source, failed, judge, advice))
    kept = [value for value in values if value is not None]
    columns = label_columns(judge, kind, np.array(kept, dtype=float))
    if failed:
        logger.warning(
            "%s: %d rows without a finite score are left out, the first is %d", source, len(failed), failed[0]
        )
        dataset = dataset.select([index for index, value in enumerate(values) if value is not None])
    dataset = dataset.remove_columns(present)
    for name, column in columns.items():
        dataset = dataset.add_column(name, column.tolist())
    counts = {"rows": len(values), "labelled": len(kept), "dropped": len(failed)}
    facts = margin_facts(np.array(kept), tau) if judge.has_scores else {}
    if kind == "win_rates":
        facts |= win_rate_facts(columns["chosen_win_rate"])
    run = {"from_cache": recorded, **judge.stats.to_dict()}
    identity = {"fingerprint": judge.fingerprint, "judge": judge.identity()}
    return Labelled(dataset, {"label": kind, "columns": list(columns), **identity, **counts, **facts, "this_run": run})


def pair_columns(dataset: Any) -> list[str]:
    return [name for name in ("prompt", "chosen", "rejected") if name in dataset.column_names]


def split_pair(row: dict[str, Any]) -> dict[str, Any]:
    """The pair with its prompt apart: where the row has none, it is what chosen and rejected begin with (TRL's rule)."""
    if row.get("prompt") is not None:
        return row
    from trl.data_utils import extract_prompt

    return extract_prompt({"chosen": row["chosen"], "rejected": row["rejected"]})


def compute_for(judge: Judge, pairs: list[dict[str, Any]]) -> Callable[[list[int]], Any]:
    """Row indices -> [[score of chosen, score of rejected]], or [[win rate of chosen]] from a judge without scores."""

    def compute(indices: list[int]) -> Any:
        rows = [pairs[index] for index in indices]
        prompts, chosen, rejected = ([row[name] for row in rows] for name in ("prompt", "chosen", "rejected"))
        if judge.has_scores:
            return judge.scores(prompts, list(zip(chosen, rejected, strict=True)))
        return judge.compare_batch(prompts, chosen, rejected)[:, None]

    return compute


def label_columns(judge: Judge, kind: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """The new columns, from scores [M, 2] or win rates [M, 1]."""
    if kind == "scores":
        return {"chosen_score": values[:, 0], "rejected_score": values[:, 1]}
    if kind == "margins":
        return {"reward_margin": values[:, 0] - values[:, 1]}
    wins = judge.preferences(values)[:, 0, 1] if isinstance(judge, ScoringJudge) else values[:, 0]
    return {"chosen_win_rate": wins, "rejected_win_rate": 1 - wins}


def margin_facts(scores: np.ndarray, tau: float | None) -> dict[str, Any]:
    """Quantiles of |h| and shares of h = score(chosen) - score(rejected): tau lives on this scale."""
    margins = scores[:, 0] - scores[:, 1]
    facts: dict[str, Any] = {
        "abs_margin_quantiles": quantiles(np.abs(margins)),
        "mean_margin": float(margins.mean()),
        "share_margin_negative": float((margins < 0).mean()),
    }
    if tau is not None:
        facts |= {"tau": tau, "share_margin_at_most_minus_tau": float((margins <= -tau).mean())}
    return facts


def win_rate_facts(wins: np.ndarray) -> dict[str, Any]:
    return {"chosen_win_rate_quantiles": quantiles(wins), "share_chosen_loses": float((wins < 0.5).mean())}


def quantiles(values: np.ndarray) -> dict[str, float]:
    return {f"{level:g}": float(value) for level, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)}


def check_output(out: str | os.PathLike[str]) -> Path:
    """`out` as a path that can be written: .jsonl, .parquet, or a folder (no suffix). `InputError` otherwise."""
    path = Path(out)
    if path.suffix in (".jsonl", ".parquet"):
        if path.is_dir():
            raise InputError(f"{path} is a folder: give a file name")
        return path
    if path.suffix:
        raise InputError(f"{path} ends in {path.suffix}: give a .jsonl or .parquet file, or a folder")
    if path.is_file():
        raise InputError(f"{path} is a file without a suffix: give a .jsonl or .parquet file, or a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / "dataset_info.json").is_file():
        raise InputError(f"folder {path} holds something that is no data set: give another one")
    return path


def write_dataset(dataset: Any, out: str | os.PathLike[str]) -> None:
    """Write a data set as .jsonl, .parquet or a folder of `save_to_disk`: under another name first, then renamed."""
    import shutil

    path = check_output(out)
    if path.suffix == ".jsonl":
        write_atomically(path, (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in dataset))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    if path.suffix == ".parquet":
        dataset.to_parquet(str(temporary))
        os.replace(temporary, path)
        return
    old = path.with_name(f".{path.name}.old")
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    dataset.save_to_disk(str(temporary))
    if path.is_dir():
        os.replace(path, old)
    os.replace(temporary, path)
    shutil.rmtree(old, ignore_errors=True)
