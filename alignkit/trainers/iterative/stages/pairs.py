"""Stage `pairs`: from judgements to pairs, with replay of older ones; what is left out is counted."""

import random
from collections import Counter
from typing import Any

import torch

from ....errors import InputError
from ....generation import derive_seed
from ..context import Context
from ..files import read_rows, write_rows, write_text
from ..rule import Candidate, Judged
from .judge import read_judgements, responses_by_prompt
from .record import dump


REASONS = ("tie", "duplicate", "truncated", "empty", "failed")


def pairs(context: Context) -> None:
    """Write `pairs.jsonl` (this iteration's own pairs first, then replayed ones) and the counts.

    Raises `InputError` where the iteration gives no pair.
    """
    folder = context.iteration_dir
    prompts = {row["prompt_id"]: row["prompt"] for row in read_rows(folder / "prompts.jsonl")}
    texts = responses_by_prompt(folder / "responses.jsonl")
    judgements = read_judgements(folder / "judgements.npz")
    groups = [texts[int(prompt_id)] for prompt_id in judgements["prompt_ids"]]
    judged = as_judged(groups, judgements)
    candidates = context.rule.candidates(judged)
    counts: Counter[str] = Counter()
    own = []
    for candidate in candidates:
        group = groups[candidate.prompt]
        chosen, rejected = group[candidate.chosen], group[candidate.rejected]
        reason = why_dropped(chosen, rejected)
        if reason:
            counts[reason] += 1
            continue
        prompt_id = chosen["prompt_id"]
        own.append(pair_row(context, candidate, prompts[prompt_id], chosen, rejected))
    with_candidates = {candidate.prompt for candidate in candidates}
    for n in range(len(groups)):
        if n not in with_candidates:
            counts[why_none(groups[n], judged, n)] += 1
    summary = {f"pairs/dropped_{reason}": counts[reason] for reason in REASONS}
    if not own:
        raise InputError(no_pairs_message(context, len(groups), summary))
    replayed = replay(context)
    samples = [row for group in groups for row in group if not row["is_teacher"]]
    metrics = {
        "pairs/kept": len(own),
        "pairs/replayed": len(replayed),
        **summary,
        "responses/truncated": sum(row["finish_reason"] == "length" for row in samples),
        "responses/empty": sum(not row["text"].strip() for row in samples),
        "judge/calls": int(judgements["calls"]),
        "judge/failed": failed_judgements(judged),
    }
    write_text(folder / "pairs_metrics.json", dump(metrics))
    write_rows(folder / "pairs.jsonl", [*own, *replayed])


def as_judged(groups: list[list[dict[str, Any]]], judgements: dict[str, Any]) -> Judged:
    """The judgements as tensors, with which responses may be in a pair."""

    def tensor(name: str) -> torch.Tensor | None:
        return torch.from_numpy(judgements[name]) if name in judgements else None

    return Judged(
        preferences=tensor("preferences"),
        scores=tensor("scores"),
        usable=torch.tensor([[is_usable(row) for row in group] for group in groups]),
        is_teacher=torch.tensor([[row["is_teacher"] for row in group] for group in groups]),
    )


def is_usable(row: dict[str, Any]) -> bool:
    """Whether a response may be in a pair: it says something and ends by itself.

    A response cut at the length limit has no end-of-sequence token; training would add one and teach to stop there.
    """
    return bool(row["text"].strip()) and row["finish_reason"] != "length"


def why_dropped(chosen: dict[str, Any], rejected: dict[str, Any]) -> str | None:
    """The reason to drop a pair, or None."""
    for row in (chosen, rejected):
        if row["finish_reason"] == "length":
            return "truncated"
        if not row["text"].strip():
            return "empty"
    # The texts, not only the tokens: a training pair is tokenised again from its text.
    return "duplicate" if chosen["text"] == rejected["text"] else None


def why_none(group: list[dict[str, Any]], judged: Judged, n: int) -> str:
    """Why a prompt gives no candidate."""
    if judged.usable[n].sum() < 2:
        return "truncated" if any(row["finish_reason"] == "length" for row in group) else "empty"
    if judgements_failed(judged, n):
        return "failed"
    texts = {row["text"] for row in group if is_usable(row)}
    return "duplicate" if len(texts) == 1 else "tie"


def judgements_failed(judged: Judged, n: int) -> bool:
    """Whether fewer than two usable responses to prompt n were judged."""
    usable = judged.usable[n]
    if judged.scores is not None:
        return int((~judged.scores[n][usable].isnan()).sum()) < 2
    preferences = judged.require_preferences()[n][usable][:, usable]
    off_diagonal = ~torch.eye(len(preferences), dtype=torch.bool)
    return bool(preferences[off_diagonal].isnan().all())


def failed_judgements(judged: Judged) -> int:
    """Responses that the judge could not score, or prompts none of whose comparisons it could make."""
    if judged.scores is not None:
        return int(judged.scores.isnan().sum())
    return sum(judgements_failed(judged, n) for n in range(len(judged.usable)))


def pair_row(
    context: Context, candidate: Candidate, prompt: Any, chosen: dict[str, Any], rejected: dict[str, Any]
) -> dict[str, Any]:
    """A row of the training data, in the form of its prompt (messages or plain text)."""

    def completion(text: str) -> Any:
        return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]

    return {
        "prompt": prompt,
        "chosen": completion(chosen["text"]),
        "rejected": completion(rejected["text"]),
        **candidate.columns,
        "prompt_id": chosen["prompt_id"],
        "iteration": context.state.iteration,
    }


def replay(context: Context) -> list[dict[str, Any]]:
    """Pairs of past iterations, drawn without replacement with a seed of their own."""
    state, rows = context.state, []
    counts = context.rule.replay_counts([item.size for item in state.replay])
    for item, count in zip(state.replay, counts, strict=True):
        past = [row for row in read_rows(context.folder / item.path) if row["iteration"] == item.iteration]
        seed = derive_seed(state.base_seed, "replay", state.iteration, item.iteration)
        rows += random.Random(seed).sample(past, count)
    return rows


def no_pairs_message(context: Context, num_prompts: int, summary: dict[str, int]) -> str:
    """One sentence that says why there is nothing to train on, and what to do."""
    reasons = {
        "tie": "the judge finds all responses equal or no gap large enough (check `judge`, its scale and thresholds)",
        "duplicate": "the responses are the same text (raise `temperature`)",
        "truncated": "the responses are cut at the length limit (raise `max_completion_length`)",
        "empty": "the responses are empty",
        "failed": "the judge failed on the responses",
    }
    counted = {reason: summary[f"pairs/dropped_{reason}"] for reason in REASONS}
    main = max(counted, key=lambda reason: counted[reason])
    listed = ", ".join(f"{reason} {count}" for reason, count in counted.items() if count)
    return (
        f"iteration {context.state.iteration} gives no pair from {num_prompts} prompts: mostly {reasons[main]}; "
        f"dropped: {listed}."
    )
