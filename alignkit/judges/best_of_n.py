"""Best-of-n: the response that the reward prefers, and what is gained by drawing n of them (arXiv 2310.02743)."""

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from alignkit.errors import InputError

from .base import Judge
from .conversations import Prompt, Response, digest
from .ensemble import check_objective, combine
from .records import RecordLog
from .resumable import BLOCK_ROWS, failed_rows_message, score_rows


def pick_best(scores: Sequence[np.ndarray], n: int) -> list[int]:
    """For each prompt the index of the highest of its first n scores; of equal ones the first."""
    return [int(np.argmax(row[:n])) for row in scores]


def best_of_n_curve(
    proxy: Sequence[np.ndarray], gold: Sequence[np.ndarray] | None, ns: Sequence[int]
) -> list[dict[str, Any]]:
    r"""Expected score of the best of n samples by proxy, averaged over the prompts, for each n.

    Unbiased over all subsets of size n (`objectives.rewards.best_of_n`); the KL from the sampling policy is
    \( \log n - (n-1)/n \) nats. Prompts may have different numbers of samples, each at least n.

    Args:
        proxy: for each prompt the scores of its samples; no NaN.
        gold: the same of the gold reward, or None.
        ns: numbers of samples.

    Returns:
        One row per n: `n`, `kl`, `proxy`, `proxy_standard_error` (over prompts) and, with gold, the same of `gold`.
    """
    import torch

    from alignkit.objectives.rewards import best_of_n, best_of_n_kl

    names = ["proxy"] if gold is None else ["proxy", "gold"]
    rows = []
    for n in ns:
        values: dict[str, list[float]] = {name: [] for name in names}
        for index, scores in enumerate(proxy):
            first = torch.as_tensor(scores, dtype=torch.float64)[None]
            second = first if gold is None else torch.as_tensor(gold[index], dtype=torch.float64)[None]
            expected = best_of_n(first, second, n)
            for name in names:
                values[name].append(float(getattr(expected, name)[0]))
        row: dict[str, Any] = {"n": n, "kl": best_of_n_kl(n)}
        for name in names:
            row[name] = float(np.mean(values[name]))
            spread = np.std(values[name], ddof=1) if len(values[name]) > 1 else np.nan
            row[f"{name}_standard_error"] = None if np.isnan(spread) else float(spread / np.sqrt(len(values[name])))
        rows.append(row)
    return rows


class BestOfNResult(NamedTuple):
    """The picked rows and the facts of the selection (JSON values)."""

    picked: list[dict[str, Any]]
    report: dict[str, Any]


def best_of_n_rows(
    rows: Sequence[dict[str, Any]],
    judges: Sequence[Judge],
    ns: Sequence[int],
    *,
    gold: str | None = None,
    objective: str = "mean",
    coef: float = 0.5,
    normalize: bool = False,
    drop_failed: bool = False,
    cache: str | os.PathLike[str] | None = None,
    source: str = "the responses",
) -> BestOfNResult:
    """Score rows {prompt, responses: [...]}, pick the best of the first max(ns) responses, and measure each n.

    Args:
        judges: judges with scores; each is loaded, scores all rows, and is unloaded before the next.
        gold: name of a column with a list of gold scores, one per response.
        objective, coef: how the members' scores are combined (`objectives.rewards.reward_ensemble`).
        normalize: bring each member's scores to mean 0 and standard deviation 1 on these rows first.
        drop_failed: leave out prompts with a response that a member could not score; otherwise they are refused.
        cache: append-only JSONL of scored rows, so that a killed run goes on.

    Returns:
        Picked rows in TRL's prompt-completion format with `index`, `score`, `member_scores` (and `gold`), and the
        report with the curve of `best_of_n_curve`.

    Raises:
        InputError: naming the row and field that is malformed or has too few responses, or could not be scored.
    """
    for judge in judges:
        if not judge.has_scores:
            raise InputError(f"best-of-n needs scores; {type(judge).__name__} compares only")
    check_objective(objective, coef)
    check_rows(rows, max(ns), gold, source)
    members, lost = score_members(rows, judges, cache, source, drop_failed)
    kept = [index for index in range(len(rows)) if index not in lost]
    sizes = [len(rows[index]["responses"]) for index in kept]
    columns = np.stack([np.concatenate([scores[index] for index in kept]) for scores in members], axis=1)
    scales = None
    if normalize:
        scales = [
            (float(mean), float(std)) for mean, std in zip(columns.mean(axis=0), columns.std(axis=0), strict=True)
        ]
        if not all(std > 0 for _, std in scales):
            raise InputError("a model gives all responses the same score: leave out --normalize, or the model")
        columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    cuts = np.cumsum(sizes)[:-1]
    proxy = np.split(combine(columns, objective, coef), cuts)
    golden = None if gold is None else [np.array(rows[index][gold], dtype=float) for index in kept]
    picked = []
    for place, (index, best) in enumerate(zip(kept, pick_best(proxy, max(ns)), strict=True)):
        row = {
            "prompt": rows[index]["prompt"],
            "completion": as_completion(rows[index]["prompt"], rows[index]["responses"][best]),
            "index": best,
            "score": float(proxy[place][best]),
            "member_scores": [float(scores[index][best]) for scores in members],
        }
        picked.append(row if golden is None else {**row, "gold": float(golden[place][best])})
    report = {
        "members": [{"fingerprint": judge.fingerprint, "judge": judge.identity()} for judge in judges],
        "aggregate": objective,
        "coef": coef if objective == "uwo" else None,
        "normalization": scales,
        "rows": len(rows),
        "used": len(kept),
        "picked_from": max(ns),
        "curve": best_of_n_curve(proxy, golden, ns),
    }
    return BestOfNResult(picked, report)


def score_members(
    rows: Sequence[dict[str, Any]],
    judges: Sequence[Judge],
    cache: str | os.PathLike[str] | None,
    source: str,
    drop_failed: bool,
) -> tuple[list[dict[int, list[float]]], set[int]]:
    """For each judge {row index: scores}, and the rows that one of them could not score."""
    keys = [digest([row["prompt"], row["responses"]]) for row in rows]
    members: list[dict[int, list[float]]] = []
    lost: set[int] = set()
    for judge in judges:

        def compute(indices: list[int], judge: Judge = judge) -> list[list[float]]:
            groups = [rows[index]["responses"] for index in indices]
            scores = judge.scores([rows[index]["prompt"] for index in indices], groups)
            return [row[: len(group)].tolist() for row, group in zip(scores, groups, strict=True)]

        values, _ = score_rows(judge, "responses", keys, compute, RecordLog(cache), BLOCK_ROWS)
        judge.unload()
        failed = [index for index, value in enumerate(values) if value is None]
        if failed and not drop_failed:
            raise InputError(failed_rows_message(source, failed, judge, "leave such rows out with drop_failed"))
        lost.update(failed)
        members.append({index: value for index, value in enumerate(values) if value is not None})
    if len(lost) == len(rows):
        raise InputError(f"{source}: no row has scores from all {len(judges)} models")
    return members, lost


def check_rows(rows: Sequence[dict[str, Any]], largest: int, gold: str | None, source: str) -> None:
    """Raise `InputError` naming the first row (counted from 0) and field that is malformed."""
    if not rows:
        raise InputError(f"{source} holds no rows")
    for number, row in enumerate(rows):
        place = f"{source}, row {number} (counted from 0)"
        if not isinstance(row.get("prompt"), str | list) or not row["prompt"]:
            raise InputError(f"{place}, field `prompt`: expected text or a list of messages")
        responses = row.get("responses")
        if not isinstance(responses, list) or not all(isinstance(item, str | list) and item for item in responses):
            raise InputError(
                f"{place}, field `responses`: expected a list of texts (or of lists of messages), none empty"
            )
        if len(responses) < largest:
            raise InputError(f"{place}, field `responses`: {len(responses)} responses, but --n asks for {largest}")
        if gold is None:
            continue
        values = row.get(gold)
        if not isinstance(values, list) or len(values) != len(responses) or not all(map(is_finite, values)):
            raise InputError(f"{place}, field `{gold}`: expected {len(responses)} finite numbers, one per response")


def is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_completion(prompt: Prompt, response: Response) -> Response:
    """The response in the format of its prompt: messages after messages, text after text."""
    if isinstance(prompt, list) and isinstance(response, str):
        return [{"role": "assistant", "content": response}]
    return response
