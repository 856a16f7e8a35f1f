"""Stage `advantages`: how much better each candidate step of a state is than its siblings, by the critic."""

import math
from typing import Any

import torch

from ...errors import InputError
from ...objectives.advantages import direct_advantage_advantages
from ..iterative.context import Context
from ..iterative.files import read_rows, write_rows, write_text
from ..iterative.stages.record import dump
from ..iterative.training import free_memory
from .critic_model import load_critic, state_values
from .stage import Rows, Stage


def write_advantages(stage: Stage) -> None:
    """Write `advantages.jsonl`: {state_id, prompt_ids, completion_ids, advantage}, a row for each step to train on.

    Raises `InputError` where no state's candidates differ enough.
    """
    config, folder = stage.config, stage.folder
    states = read_rows(folder / "values.jsonl")
    values = critic_values(stage, states)
    rows, metrics = step_rows(states, values, config.num_completions, config.min_gap)
    if not rows:
        raise InputError(
            f"no state of {len(states)} has candidates that differ by `min_gap` ({config.min_gap:g}); the largest "
            f"difference is {metrics['largest_gap']:.3g}. Train the critic longer, or lower min_gap."
        )
    write_text(folder / "advantages_metrics.json", dump(metrics))
    write_rows(folder / "advantages.jsonl", rows)


def critic_values(stage: Stage, states: Rows) -> dict[tuple[int, ...], float]:
    """The critic's value after every candidate that does not end its response, by the tokens of problem and steps."""
    context: Context = stage.context
    tokenizer = stage.tokenizer()
    found = {after(state, item): None for state in states for item in state["candidates"] if not item["ends"]}
    model = load_critic(context.run, str(stage.folder / "critic"), len(tokenizer), tokenizer.pad_token_id, False)
    on_gpu = torch.cuda.is_available() and not stage.config.use_cpu
    if on_gpu and not context.run.model.load_in_4bit:
        model = model.to("cuda")
    values = state_values(model.eval(), list(found), stage.config.generation_batch_size)
    del model
    free_memory()
    return dict(zip(found, values, strict=True))


def after(state: dict[str, Any], candidate: dict[str, Any]) -> tuple[int, ...]:
    """The tokens of the state that a candidate leads to."""
    return (*state["prompt_ids"], *state["steps_ids"], *candidate["ids"])


def step_rows(
    states: Rows, values: dict[tuple[int, ...], float], num_candidates: int, min_gap: float
) -> tuple[Rows, dict[str, Any]]:
    """The rows to train on, and the numbers of the stage."""
    items = [(state, item) for state in states for item in state["candidates"]]
    ends = torch.tensor([item["ends"] for _, item in items])
    scores = torch.tensor([math.nan if item["score"] is None else item["score"] for _, item in items])
    next_values = torch.tensor([values.get(after(state, item), math.nan) for state, item in items])
    ids: dict[tuple[int, ...], int] = {}
    action_ids = torch.tensor([ids.setdefault(tuple(item["ids"]), len(ids)) for _, item in items])
    found = direct_advantage_advantages(next_values, num_candidates, scores, ends, action_ids, min_gap)
    rows = [
        {
            "state_id": state["state_id"],
            "prompt_ids": state["prompt_ids"] + state["steps_ids"],
            "completion_ids": item["ids"],
            "advantage": advantage,
        }
        for (state, item), advantage, keep in zip(items, found.advantages.tolist(), found.keep.tolist(), strict=True)
        if keep
    ]
    quality = torch.where(ends, scores, next_values).view(-1, num_candidates)
    spread = quality.nan_to_num(-math.inf).amax(1) - quality.nan_to_num(math.inf).amin(1)
    sizes = [abs(row["advantage"]) for row in rows]
    metrics = {
        "states": len(states),
        "states_kept": len({row["state_id"] for row in rows}),
        "steps_kept": len(rows),
        "largest_gap": float(spread.max()),
        "advantage_size": sum(sizes) / len(sizes) if sizes else None,
        "steps_that_end": float(ends.double().mean()),
        "candidates_without_value": int(quality.isnan().sum()),
    }
    return rows, metrics
