"""Stage `states`: responses to every problem, a balanced few of them, and the text after each of their steps."""

from statistics import fmean
from typing import Any

from ...generation import SamplingParams
from ...generation.prompts import encode_prompt
from ..iterative.files import remove, write_rows, write_text
from ..iterative.stages.generate import sample
from ..iterative.stages.record import dump
from .scoring import score_responses
from .splitting import StepSplitter
from .stage import Rows, Stage


def write_states(stage: Stage) -> None:
    """Write `states.jsonl`: {state_id, prompt_id, prompt_ids, steps_ids}, and the numbers beside it.

    A state is a problem and the first steps of a kept response, as tokens; the same one is written once.
    """
    config, folder = stage.config, stage.folder
    sampling = SamplingParams(config.temperature, config.top_p, config.top_k, config.max_completion_length)
    log_path = folder / "responses.partial.jsonl"
    scope = f"{stage.state.iteration}/responses"
    responses = sample(stage.context, stage.policy, stage.rows, config.num_generations, sampling, scope, log_path)
    prompts = {row["prompt_id"]: row["prompt"] for row in stage.rows}
    asked = [prompts[response["prompt_id"]] for response in responses]
    scores = score_responses(stage.judge, asked, [response["text"] for response in responses], "scores of responses")
    tokenizer = stage.tokenizer()
    splitter = StepSplitter(tokenizer, config.step_delimiter)
    states: Rows = []
    kept_count, lengths = 0, []
    for start in range(0, len(responses), config.num_generations):
        group = slice(start, start + config.num_generations)
        kept = balanced([row["token_ids"] for row in responses[group]], scores[group], config.num_kept)
        kept_count += len(kept)
        lengths += [len(splitter.ends(ids)) for ids in kept]
        prompt_id = responses[start]["prompt_id"]
        prompt_ids = encode_prompt(tokenizer, prompts[prompt_id])
        for steps in prefixes(kept, splitter):
            states.append(
                {"state_id": len(states), "prompt_id": prompt_id, "prompt_ids": prompt_ids, "steps_ids": steps}
            )
    known = [score for score in scores if score is not None]
    metrics = {
        "responses": len(responses),
        "responses_not_scored": len(scores) - len(known),
        "accuracy": fmean(known) if known else None,
        "truncated": fmean(row["finish_reason"] == "length" for row in responses),
        "responses_kept": kept_count,
        "steps_per_response": fmean(lengths) if lengths else None,
        "states": len(states),
    }
    write_text(folder / "states_metrics.json", dump(metrics))
    write_rows(folder / "states.jsonl", states)
    remove(log_path)


def balanced(responses: list[list[int]], scores: list[float | None], count: int) -> list[list[int]]:
    """At most `count` different responses, as many right (score at least 1/2) as wrong ones where there are.

    Within each kind the first ones sampled are taken; one without a score is not.
    """
    right: list[list[int]] = []
    wrong: list[list[int]] = []
    for ids, score in zip(responses, scores, strict=True):
        group = right if score is not None and score >= 0.5 else wrong
        if score is not None and ids and ids not in group:
            group.append(ids)
    # The scarcer kind gives what it has, the other fills up.
    from_right = min(len(right), max(count // 2, count - len(wrong)))
    return right[:from_right] + wrong[: count - from_right]


def prefixes(responses: list[list[int]], splitter: StepSplitter) -> list[list[int]]:
    """The empty sequence and every response up to each step but the last, the same tokens once, in order."""
    found: dict[tuple[int, ...], Any] = {}
    for ids in responses:
        for end in [0, *splitter.ends(ids)[:-1]]:
            found.setdefault(tuple(ids[:end]))
    return [list(ids) for ids in found]
