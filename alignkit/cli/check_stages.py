"""What `alignkit check` says of a run of several trainings: a loop, two-stage MPO, a front."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..catalog import get
from ..config import Run, config_fields, load_run, read_config
from ..config.run import split_flags
from ..errors import InputError


Kind = Literal["loop", "front"]
# Steps of a response of which the plan of direct advantage says what it would cost; the paper's have about 20.
TYPICAL_STEPS = 20


@dataclass(frozen=True)
class Limits:
    """The machine to plan for, as `run_preflight` takes it."""

    world_size: int | None = None
    device_memory: float | None = None
    sharding: Any = None

    def arguments(self) -> tuple[int | None, float | None, Any]:
        return self.world_size, self.device_memory, self.sharding


def staged_kind(key: str, config_path: str | None, overrides: list[str]) -> Kind | None:
    """Whether these settings are those of a loop or a front: they hold a field that only such a run has."""
    from ..trainers.front import FRONTS, front_method
    from ..trainers.iterative import LOOPS, RUNNERS, loop_method

    if key in RUNNERS:
        return "loop"
    given = set(read_config(config_path) if config_path else {}) | {name for name, _ in split_flags(overrides)}
    kinds: list[tuple[Kind, Any, Callable]] = [("loop", LOOPS, loop_method), ("front", FRONTS, front_method)]
    for kind, methods, method_of in kinds:
        if key in methods and given & (set(config_fields(method_of(key))) - set(config_fields(get(key)))):
            return kind
    return None


def check_staged(kind: Kind, key: str, config_path: str | None, overrides: list[str], limits: Limits) -> Any:
    """(report, plan): a `PreflightReport` of the training inside, and lines on what happens around it."""
    from ..trainers.front import front_method
    from ..trainers.iterative import loop_method

    if kind == "front":
        return check_front(load_run(front_method(key), config_path, overrides), limits)
    run = load_run(loop_method(key), config_path, overrides)
    checks = {"mpo": check_mpo, "direct_advantage": check_steps}
    return checks.get(key, check_loop)(run, limits)


def check_loop(run: Run, limits: Limits) -> tuple[Any, list[str]]:
    """A loop: its prompts, judge and model, the memory of one iteration's training, what will be sampled and judged."""
    from ..preflight import PreflightReport
    from ..preflight.batch import batch_plan
    from ..preflight.checks import check_memory
    from ..preflight.model_source import find_model, on_its_base
    from ..trainers.assemble import stage_config
    from ..trainers.iterative.plan import plan_loop
    from ..trainers.iterative.prepare import prepare_prompts

    method = get(run.method.key)
    training = stage_config(run, method.load_config(), {"precompute_ref_log_probs": True})
    report = PreflightReport(method.key)
    stage = on_its_base(replace(run, method=method, training=training), report)
    path = find_model(stage, report)
    plan: list[str] = []
    with collected(report):
        prepared = prepare_prompts(run)
        plan = plan_loop(run.training, prepared).lines()
        plan.append(f"judge fingerprint {prepared.judge.fingerprint}")
        if prepared.rule.one_pair_per_prompt:
            pairs = len(prepared.order["train"]) // run.training.num_iterations
            report.batch = batch_plan(training, pairs, limits.world_size)
            plan.append(f"each iteration trains on at most {pairs:,} pairs, one per prompt")
    if path is not None:
        check_memory(stage, path, *limits.arguments(), report)
    return report, plan


def check_mpo(run: Run, limits: Limits) -> tuple[Any, list[str]]:
    """Two-stage MPO: the first stage as any DPO run; the reward, and the batches of the second stage."""
    from ..preflight import run_preflight
    from ..trainers.two_stage.runner import build_reward, load_pairs, reward_costs
    from ..trainers.two_stage.selection import score_columns
    from ..trainers.two_stage.stages import stage_training

    folder = Path(run.training.output_dir)
    rl = stage_training(run, "rl", folder)
    dpo = replace(run, method=get("dpo"), training=stage_training(run, "dpo", folder))
    report = run_preflight(dpo, *limits.arguments())
    report.method = run.method.key
    if report.errors:
        return report, []
    plan: list[str] = []
    with collected(report):
        rows, source = load_pairs(run)
        judge = build_reward(run, rows)
        columns = score_columns(rows, run.training, source)
        asked = f"by `reward` {run.training.reward}" if columns is None else f"from {' and '.join(columns)}"
        rule = f"gap above {run.training.threshold:g}" if run.training.threshold is not None else ""
        rule = rule or f"the largest {run.training.easy_fraction:.0%} of the gaps"
        plan.append(f"stage select: {len(rows):,} pairs scored {asked}; easy: {rule}")
        plan.append("stage dpo: the batches and the memory above, on the easy pairs only")
        responses = rl.per_device_train_batch_size * rl.gradient_accumulation_steps * (limits.world_size or 1)
        length = f"{rl.max_steps:,} updates" if rl.max_steps > 0 else f"{rl.num_train_epochs:g} epochs"
        plan.append(
            f"stage rl: {length} on the prompts of the hard pairs; {responses} responses per update, "
            f"{rl.num_generations} to each prompt, at most {rl.max_completion_length} tokens each"
        )
        plan.append(f"reward fingerprint {judge.fingerprint}")
        if not judge.has_scores:
            report.errors.append(
                f"`reward` is {run.training.reward!r}, which compares two responses and gives no scores."
            )
        plan.extend(f"cost: {line}" for line in reward_costs(run, judge, rows, source))
    return report, plan


def check_steps(run: Run, limits: Limits) -> tuple[Any, list[str]]:
    """Direct advantage: its problems, reward and critic, what will be sampled, the memory of the policy's training."""
    from ..preflight import PreflightReport
    from ..preflight.checks import check_memory
    from ..preflight.model_source import find_model, on_its_base
    from ..trainers.steps.actor import actor_training
    from ..trainers.steps.critic import critic_source, critic_training
    from ..trainers.steps.runner import load_problems
    from ..trainers.steps.scoring import build_reward

    config, folder = run.training, Path(run.training.output_dir)
    report = PreflightReport(run.method.key)
    critic, actor = (make(run, folder, config.seed) for make in (critic_training, actor_training))
    # The estimate is of pairs: a step is one sequence, and its longest one fills the response.
    actor.per_device_train_batch_size = math.ceil(actor.per_device_train_batch_size / 2)
    actor.max_length = config.max_completion_length
    stage = on_its_base(replace(run, method=get("dpo"), training=actor), report)
    path = find_model(stage, report)
    plan: list[str] = []
    with collected(report):
        rows = load_problems(run)
        judge = build_reward(run, rows)
        report.source, report.rows = run.script.dataset_name or "the data set", len(rows)
        most = len(rows) * config.num_kept
        plan += [
            f"{config.num_iterations} iterations, each from the policy of the one before",
            f"stage states: {config.num_generations} responses to each of {len(rows):,} problems = "
            f"{len(rows) * config.num_generations:,}, at most {config.num_kept} kept",
            f"stage values: {config.num_completions} completions from the text after every step of the {most:,} kept "
            f"responses: {most * TYPICAL_STEPS * config.num_completions:,} if each had {TYPICAL_STEPS} steps",
            f"stage critic: from {critic_source(run)}, learning rate {critic.learning_rate:g}",
            f"stage actor: steps whose state has a gap of at least {config.min_gap:g}, learning rate "
            f"{actor.learning_rate:g}; the memory above, without the prompt",
            f"reward fingerprint {judge.fingerprint}",
        ]
    if path is not None:
        check_memory(stage, path, *limits.arguments(), report)
    return report, plan


def check_front(run: Run, limits: Limits) -> tuple[Any, list[str]]:
    """A front: one of its points as any run of the method; how many there are and how they are measured."""
    from ..preflight import run_preflight
    from ..trainers.assemble import stage_config
    from ..trainers.front.runner import build_judges, load_eval_rows, measuring_costs

    method, weights = get(run.method.key), run.training.front_weights
    training = stage_config(
        run, method.load_config(), {"weights": [max(weights), 1 - max(weights)] if any(weights) else [1.0, 0.0]}
    )
    report = run_preflight(replace(run, method=method, training=training), *limits.arguments())
    plan: list[str] = []
    with collected(report):
        rows = load_eval_rows(run)
        judges = build_judges(run, rows)
        plan.append(
            f"{len(weights)} points, each a training like the one above; weights {', '.join(map(str, weights))}"
        )
        plan.append(f"the base and every point answer {len(rows):,} prompts of {run.training.eval_dataset_name}")
        plan.extend(f"{name} is scored by {judge.identity()['judge']}" for name, judge in judges.items())
        plan.extend(f"cost: {line}" for line in measuring_costs(run, rows, judges, len(weights) + 1))
    return report, plan


@contextlib.contextmanager
def collected(report: Any) -> Iterator[None]:
    """An `InputError` inside becomes one of the report's errors."""
    try:
        yield
    except InputError as error:
        report.errors.append(" ".join(str(error).split()))
