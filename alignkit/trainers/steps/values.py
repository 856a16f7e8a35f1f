"""Stage `values`: Monte-Carlo values of the states, and the candidate steps that the same completions begin with."""

from statistics import fmean
from typing import Any

from ...errors import InputError
from ...generation import SamplingParams
from ..iterative.files import read_rows, remove, write_rows, write_text
from ..iterative.stages.generate import sample
from ..iterative.stages.record import dump
from .scoring import score_responses
from .splitting import StepSplitter
from .stage import Rows, Stage


def write_values(stage: Stage) -> None:
    """Write `values.jsonl`: the states with `value` and `candidates`, and the numbers beside it.

    `value` is the mean score of the completions from the state (null where none was scored). Each of the completions
    gives a candidate {ids, ends, score}: its first step, whether that ends the response, and then the response's score.
    """
    config, folder = stage.config, stage.folder
    states = read_rows(folder / "states.jsonl")
    sampling = SamplingParams(config.temperature, config.top_p, config.top_k, config.max_completion_length)
    asked = [{"prompt_id": row["state_id"], "prompt": row["prompt_ids"] + row["steps_ids"]} for row in states]
    log_path = folder / "completions.partial.jsonl"
    scope = f"{stage.state.iteration}/completions"
    completions = sample(stage.context, stage.policy, asked, config.num_completions, sampling, scope, log_path)
    tokenizer = stage.tokenizer()
    continuations = []
    for completion in completions:
        room = config.max_completion_length - len(states[completion["prompt_id"]]["steps_ids"])
        continuations.append(completion["token_ids"][:room])
    problems = {row["prompt_id"]: row["prompt"] for row in stage.rows}
    owners = [states[completion["prompt_id"]] for completion in completions]
    texts = [
        tokenizer.decode(state["steps_ids"] + ids, skip_special_tokens=True)
        for state, ids in zip(owners, continuations, strict=True)
    ]
    prompts = [problems[state["prompt_id"]] for state in owners]
    scores = score_responses(stage.judge, prompts, texts, "scores of completions")
    splitter = StepSplitter(tokenizer, config.step_delimiter)
    for start, state in zip(range(0, len(completions), config.num_completions), states, strict=True):
        group = slice(start, start + config.num_completions)
        known = [score for score in scores[group] if score is not None]
        state["value"] = fmean(known) if known else None
        state["candidates"] = [
            candidate(ids, score, splitter) for ids, score in zip(continuations[group], scores[group], strict=True)
        ]
    metrics = value_metrics(states, scores)
    if metrics["states_with_value"] == 0:
        raise InputError("none of the completions could be scored; check `reward` and the answers of the data set.")
    write_text(folder / "values_metrics.json", dump(metrics))
    write_rows(folder / "values.jsonl", states)
    remove(log_path)


def candidate(token_ids: list[int], score: float | None, splitter: StepSplitter) -> dict[str, Any]:
    """The first step of a completion. One that ends the response carries its score in the place of a value."""
    length = splitter.first_step(token_ids)
    ends = length == len(token_ids)
    return {"ids": token_ids[:length], "ends": ends, "score": score if ends else None}


def value_metrics(states: Rows, scores: list[float | None]) -> dict[str, Any]:
    values = [state["value"] for state in states if state["value"] is not None]
    return {
        "completions": len(scores),
        "completions_not_scored": sum(score is None for score in scores),
        "states_with_value": len(values),
        "value_mean": fmean(values) if values else None,
        "states_at_0_or_1": fmean(value in (0.0, 1.0) for value in values) if values else None,
        "different_candidates": fmean(len({tuple(item["ids"]) for item in state["candidates"]}) for state in states),
    }
