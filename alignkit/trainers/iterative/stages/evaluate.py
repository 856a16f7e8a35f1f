"""Stage `evaluate`: the new policy against the one before and the first, on prompts that no iteration trains on.

The first policy is evaluated once, before the first iteration (stage `baseline`).
"""

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ....generation import SamplingParams
from ....judges import Judge, PointwiseJudge, RecordLog
from ..context import Context
from ..files import read_rows, remove, write_rows, write_text
from ..logps import response_logps
from ..training import free_memory
from .generate import sample
from .judge import JUDGE_METRICS
from .record import dump, read_metrics


RESPONSES = "evaluation.jsonl"
METRICS = "metrics.json"


def evaluation_dir(context: Context, iteration: int) -> Path:
    """Folder of the evaluation of the policy before iteration `iteration`."""
    return context.folder / ("baseline" if iteration == 0 else f"iter_{iteration - 1}")


def baseline(context: Context, eval_rows: list[dict[str, Any]]) -> None:
    """Write the first policy's responses and metrics."""
    folder = evaluation_dir(context, 0)
    folder.mkdir(exist_ok=True)
    rows = judged_samples(context, context.state.policy, eval_rows, folder, opponents={})
    metrics = {
        "iteration": 0,
        "win_rate_vs_previous": 0.5,
        "win_rate_vs_first": 0.5,
        "kl_to_first": 0.0,
        **response_metrics(rows),
    }
    write_evaluation(folder, rows, metrics)


def evaluate(context: Context, eval_rows: list[dict[str, Any]]) -> None:
    """Write `evaluation.jsonl`, the responses and their judgements, and `metrics.json`, all numbers of the iteration."""
    folder, state = context.iteration_dir, context.state
    model = context.rule.evaluated(f"{folder.name}/policy", f"{folder.name}/trained")
    opponents = {
        "previous": read_rows(evaluation_dir(context, state.iteration) / RESPONSES),
        "first": read_rows(evaluation_dir(context, 0) / RESPONSES),
    }
    rows = judged_samples(context, model, eval_rows, folder, opponents)
    options = context.load_options()
    prompts = {row["prompt_id"]: row["prompt"] for row in eval_rows}
    asked, sampled = [prompts[row["prompt_id"]] for row in rows], [row["token_ids"] for row in rows]
    own = response_logps(context.source(model), options, asked, sampled)
    free_memory()
    first = response_logps(context.source(state.reference), options, asked, sampled)
    free_memory()
    metrics = {
        "iteration": state.iteration + 1,
        "win_rate_vs_previous": mean_or_none(row["beats_previous"] for row in rows),
        "win_rate_vs_first": mean_or_none(row["beats_first"] for row in rows),
        "kl_to_first": fmean(new - old for new, old in zip(own, first, strict=True)),
        **response_metrics(rows),
        **read_metrics(folder / "pairs_metrics.json"),
        **read_metrics(folder / JUDGE_METRICS),
        **read_metrics(folder / "train_metrics.json"),
    }
    write_evaluation(folder, rows, metrics)


def write_evaluation(folder: Path, rows: list[dict[str, Any]], metrics: dict[str, Any]) -> None:
    """Write the responses, then the metrics, then drop the records they were put together from."""
    write_rows(folder / RESPONSES, rows)
    write_text(folder / METRICS, dump(metrics))
    for name in ("responses", "judgements"):
        remove(folder / f"evaluation_{name}.partial.jsonl")


def judged_samples(
    context: Context,
    model: str,
    eval_rows: list[dict[str, Any]],
    folder: Path,
    opponents: dict[str, list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """One response of `model` to each evaluation prompt, with its score and the probability that it beats each opponent."""
    config, judge = context.config, context.judge
    temperature = config.temperature if config.eval_temperature is None else config.eval_temperature
    sampling = SamplingParams(temperature, config.top_p, config.top_k, config.max_completion_length)
    # The same random numbers for every policy: their differences are then less noisy.
    log_path = folder / "evaluation_responses.partial.jsonl"
    samples = sample(context, model, eval_rows, 1, sampling, "evaluation", log_path)
    prompts = {row["prompt_id"]: row["prompt"] for row in eval_rows}
    others = {name: {row["prompt_id"]: row for row in rows} for name, rows in opponents.items()}
    log = RecordLog(folder / "evaluation_judgements.partial.jsonl")
    done = {record["prompt_id"]: record for record in log}
    todo = [row for row in samples if row["prompt_id"] not in done]
    for start in range(0, len(todo), config.judge_batch_size):
        chunk = todo[start : start + config.judge_batch_size]
        before = judge.stats.calls_in_all
        verdicts = judge_chunk(judge, prompts, chunk, others)
        verdicts[0]["judge_calls"] = judge.stats.calls_in_all - before
        log.append(*verdicts)
        done.update({verdict["prompt_id"]: verdict for verdict in verdicts})
    log.close()
    judge.unload()
    return [{**row, **done[row["prompt_id"]]} for row in samples]


def judge_chunk(
    judge: Judge, prompts: dict[int, Any], chunk: list[dict[str, Any]], others: dict[str, dict[int, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Verdicts on some responses. A judge with scores is asked about the new ones only: the opponents' are known."""
    asked, texts = [prompts[row["prompt_id"]] for row in chunk], [row["text"] for row in chunk]
    verdicts: list[dict[str, Any]] = [{"prompt_id": row["prompt_id"]} for row in chunk]
    if isinstance(judge, PointwiseJudge):
        scores = judge.score_batch(asked, texts)
        for verdict, score in zip(verdicts, scores, strict=True):
            verdict["score"] = float(score)
    for name, rows in others.items():
        against = [rows[row["prompt_id"]] for row in chunk]
        if isinstance(judge, PointwiseJudge):
            known = np.array([row["score"] for row in against], dtype=float)
            beats = judge.preferences(np.stack([scores, known], axis=1))[:, 0, 1]
        else:
            beats = judge.compare_batch(asked, texts, [row["text"] for row in against])
        for verdict, value in zip(verdicts, beats, strict=True):
            verdict[f"beats_{name}"] = float(value)
    return verdicts


def response_metrics(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean score (accuracy, for a judge of right answers), length and how many were cut."""
    metrics: dict[str, Any] = {}
    if "score" in rows[0]:
        metrics["score"] = mean_or_none(row["score"] for row in rows)
    metrics["length"] = fmean(len(row["token_ids"]) for row in rows)
    metrics["truncated"] = fmean(row["finish_reason"] == "length" for row in rows)
    metrics["judge/evaluation_calls"] = sum(row.get("judge_calls", 0) for row in rows)
    return metrics


def mean_or_none(values) -> float | None:
    """Mean of the judgements that did not fail (NaN); None if all did."""
    known = [value for value in values if value == value]
    return fmean(known) if known else None
