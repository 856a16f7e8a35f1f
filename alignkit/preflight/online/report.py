"""How the pre-flight of an online run is shown."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..memory import StepSettings
from ..report import Report, heading, line, render_memory
from .batch import OnlinePlan
from .critic import CriticPlan
from .memory import OnlineSettings
from .rendering import RenderedPrompts
from .rewards import RewardTrial


if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class PartLine:
    """What is in a slot: the part, what it does, its settings; `chosen` is False where the slot is empty."""

    slot: str
    name: str
    summary: str
    settings: dict[str, object]
    chosen: bool


@dataclass
class OnlineReport(Report):
    """What was found of an online run.

    Attributes:
        parts: the seven slots.
        rewards: the reward functions, with what each said of a few rows.
        prompts: the first prompt as the model sees it, and the lengths of many.
        plan: batches and steps.
        max_completion_length: of the run.
        evaluation: evaluation during training, in words; empty without.
        uncounted: reward models and judges whose memory is not counted, by name.
    """

    parts: list[PartLine] = field(default_factory=list)
    rewards: list[RewardTrial] = field(default_factory=list)
    prompts: RenderedPrompts | None = None
    plan: OnlinePlan | None = None
    max_completion_length: int = 0
    evaluation: str = ""
    uncounted: list[str] = field(default_factory=list)

    def render_parts(self, console: "Console") -> None:
        _render_slots(console, self.parts)
        if self.prompts is not None:
            _render_prompt(console, self.prompts, self.max_completion_length)
        if self.rewards:
            _render_rewards(console, self.rewards)
        if self.plan is not None:
            _render_plan(console, self.plan)
            if self.evaluation:
                line(console, f"  {self.evaluation}")
        if self.memory is not None:
            render_memory(console, self.memory, **_notes(self.memory.settings, self.uncounted))


def _render_slots(console: "Console", parts: list[PartLine]) -> None:
    heading(console, "Parts")
    for part in parts:
        text = f"  {part.slot:<15}{part.name:<13}{part.summary}"
        line(console, text.rstrip(), None if part.chosen else "dim")
        if part.settings:
            given = ", ".join(f"{name}: {value}" for name, value in part.settings.items())
            line(console, f"  {'':<28}{given}", "dim")


def _render_prompt(console: "Console", prompts: RenderedPrompts, completion: int) -> None:
    heading(console, "First prompt, as the model sees it")
    line(console, "    " + prompts.text.replace("\n", "\n    "))
    ends = " or ".join(repr(end) for end in prompts.ends)
    until = f"until {ends} or after" if ends else "for"
    line(console, f"  {prompts.tokens} tokens; the completion follows, {until} {completion} tokens")
    rows = f"all {prompts.rows:,}" if prompts.complete else f"a sample of {prompts.rows:,}"
    room = "" if prompts.room is None else f"; {prompts.room:,} positions for prompt and completion together"
    line(console, f"  lengths of {rows} prompts: median {prompts.median}, longest {prompts.longest} tokens{room}")


def _render_rewards(console: "Console", rewards: list[RewardTrial]) -> None:
    heading(console, "Rewards, on a few rows")
    width = max(len(reward.name) for reward in rewards) + 2
    for reward in rewards:
        columns = f" (reads {', '.join(reward.columns)})" if reward.columns else ""
        line(console, f"  {reward.name:<{width}}weight {reward.weight:<6g}{reward.sentence}{columns}")


def _render_plan(console: "Console", plan: OnlinePlan) -> None:
    heading(console, "Batches")
    for text in plan_lines(plan):
        line(console, f"  {text}")


def plan_lines(plan: OnlinePlan) -> list[str]:
    """The arithmetic in words."""
    processes = f" x {plan.processes} {_plural('process', plan.processes)}"
    per_pass = f"{plan.per_device:,} {_plural('completion', plan.per_device)} per process and forward pass"
    steps = _plural("step", plan.steps_per_generation)
    lines = [
        f"generation batch: {per_pass} x {plan.steps_per_generation} {steps} per generation{processes} = "
        f"{plan.per_generation:,} completions, {plan.num_generations} to each of {plan.prompts:,} "
        f"{_plural('prompt', plan.prompts)}",
        f"update: {per_pass} x {plan.accumulation} accumulation{processes} = {plan.per_update:,} completions",
        _reuse(plan),
        "every update is exactly on-policy: all ratios are 1 and nothing is clipped"
        if plan.is_on_policy
        else "updates are not all on-policy: log-probabilities are kept at generation, and ratios leave 1 within it",
    ]
    if plan.steps_per_epoch is None or plan.generations_per_epoch is None:
        lines.append("updates per epoch: unknown while streaming")
    else:
        left = f" ({plan.unused_rows:,} of its rows, drawn anew, are left out)" if plan.unused_rows else ""
        lines.append(
            f"{plan.rows:,} rows = {plan.generations_per_epoch:,} generation batches = {plan.steps_per_epoch:,} updates "
            f"per epoch{left}"
        )
    epochs = "" if math.isnan(plan.epochs) else f", {plan.epochs:.3g} epochs"
    lines.append(
        f"{plan.total_steps:,} updates in all{epochs}, {plan.warmup_steps:,} of them warm-up; {plan.generations:,} "
        f"generation batches, {plan.generations * plan.per_generation:,} completions"
    )
    lines.append(_checkpoints(plan))
    return lines


def _reuse(plan: OnlinePlan) -> str:
    """How many updates a generation batch makes."""
    times = "once" if plan.num_iterations == 1 else f"{plan.num_iterations} times"
    updates = plan.updates_per_generation
    if updates < 1:
        return f"each completion is trained on {times}; an update takes {1 / updates:g} generation batches"
    return f"each completion is trained on {times}; {updates:g} {_plural('update', updates)} per generation batch"


def _checkpoints(plan: OnlinePlan) -> str:
    if plan.saves == "no":
        return "no checkpoint is written: a run that is cut off starts again"
    if plan.saves != "steps":
        return {"epoch": "a checkpoint after every epoch", "best": "a checkpoint whenever evaluation improves"}[
            plan.saves
        ]
    within = ", also within a generation batch, whose rest it holds" if plan.saves_within_generation else ""
    every = min(plan.save_every, plan.total_steps)
    return f"a checkpoint every {every:,} {_plural('update', every)}{within}"


def _plural(word: str, count: float) -> str:
    return word if count == 1 else f"{word}es" if word.endswith("s") else f"{word}s"


def _notes(settings: StepSettings, uncounted: list[str]) -> dict[str, str]:
    assert isinstance(settings, OnlineSettings)
    cache = (
        f"{settings.generated:,} completions of {settings.prompt_length} + {settings.completion_length} tokens: "
        "key-value cache and scores; not at the same time as gradients, activations and logits"
    )
    notes = {
        "generation": {
            "transformers": cache,
            "vllm": "vLLM's share of the device (`vllm_gpu_memory_utilization`), also while training",
            "vllm-sleep": "vLLM's share of the device, given back while training",
            "server": "on the vLLM server",
        }[settings.engine],
        **({} if settings.critic is None else _critic_notes(settings.critic)),
        "frozen_models": "beside the policy and its reference",
        "reward_models": f"not counted: {', '.join(uncounted)}" if uncounted else "",
    }
    return notes | ({"reference": "none: beta is 0"} if settings.reference == "none" else {})


def _critic_notes(critic: CriticPlan) -> dict[str, str]:
    what = {
        "separate": "a model of its own",
        "shared_head": "a head on the policy",
        "adapter": "a LoRA adapter and a head on the policy's base",
    }[critic.kind]
    return {
        "critic": f"{what}: {critic.parameters:,} parameters in float32, with gradients and AdamW, on every process",
        "critic_activations": "of its own pass, gone before the policy's",
    }
