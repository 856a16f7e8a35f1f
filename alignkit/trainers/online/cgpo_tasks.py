"""The tasks of a CGPO run, read from its configuration: settings, rewards and constraints of each."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ...errors import InputError
from ...objectives.arguments import require_range
from ...parts.advantages.cgpo import ONLY_TASK, CGPOAdvantagesConfig, Task
from ...rewards import ResolvedRewards, resolve_constraints, resolve_reward_funcs
from ...rewards.per_task import for_tasks
from .rewards import require_rewards, weighted_rewards


# What is the business of one optimizer and not of the others.
USED_BY = {
    "kl_max": ("crpg", "crraft"),
    "advantage_baseline": ("crpg",),
    "codpo_beta": ("codpo",),
    "codpo_lam": ("codpo",),
    "fallback": ("crraft",),
}
SETTINGS = tuple(item.name for item in fields(CGPOAdvantagesConfig))
TASK_KEYS = (*SETTINGS, "reward_funcs", "constraints", "weight")


@dataclass(frozen=True)
class TaskPlan:
    """The tasks with the columns of their rewards, and all reward functions, the constraints last with weight 0."""

    tasks: tuple[Task, ...]
    rewards: ResolvedRewards


def read_tasks(args: Any) -> dict[str, Task]:
    """The tasks by name, without their rewards; what a task does not set is the configuration's own.

    Raises `InputError` naming the task and the key that is unknown, missing, out of range or without effect.
    """
    own = {name: getattr(args, name) for name in SETTINGS}
    shared = CGPOAdvantagesConfig(**own)
    given = {ONLY_TASK: {}} if args.tasks is None else args.tasks
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"`tasks` is {given!r}; expected a mapping of task: settings, or nothing.")
    tasks = {}
    for name, settings in given.items():
        where = f"`tasks`, {name}" if args.tasks is not None else "cgpo"
        tasks[str(name)] = read_task(str(name), {} if settings is None else settings, shared, where)
    for name, users in USED_BY.items():
        default = next(item.default for item in fields(CGPOAdvantagesConfig) if item.name == name)
        if own[name] != default and not any(task.settings.optimizer in users for task in tasks.values()):
            raise InputError(
                f"`{name}` is {own[name]!r}, but it belongs to {' and '.join(users)}, and no task uses them."
            )
    for name, task in tasks.items():
        if task.settings.optimizer == "codpo" and args.num_generations == 1:
            raise InputError(
                f"`num_generations` is 1, but task {name} uses codpo, which compares completions: give at least 2."
            )
    return tasks


def read_task(name: str, given: Any, shared: CGPOAdvantagesConfig, where: str) -> Task:
    """One task: what it sets itself, over what it shares."""
    if not isinstance(given, Mapping):
        raise InputError(f"{where} is {given!r}; expected a mapping with some of {', '.join(TASK_KEYS)}.")
    for key in given:
        if key not in TASK_KEYS:
            near = difflib.get_close_matches(str(key), TASK_KEYS, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it takes {', '.join(TASK_KEYS)}."
            raise InputError(f"{where} has the key {key!r}, which a task does not take; {hint}")
    weight = given.get("weight")
    try:
        settings = replace(shared, **{key: value for key, value in given.items() if key in SETTINGS})
        if weight is not None:
            require_range("weight", weight, 0.0, math.inf, high_open=True)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: {error}") from error
    for key, users in USED_BY.items():
        if key in given and settings.optimizer not in users:
            raise InputError(
                f"{where} sets `{key}`, which belongs to {' and '.join(users)}, but its optimizer is {settings.optimizer!r}."
            )
    if settings.kl_max is None and settings.optimizer in USED_BY["kl_max"]:
        raise InputError(
            f"{where}: `kl_max` is missing, and {settings.optimizer} needs it: the largest log-ratio of a completion to the "
            "reference, in nats of the whole sequence. The paper gives no value; compare `cgpo/<task>/log_ratio`."
        )
    return Task(name, settings, weight)


def plan_tasks(args: Any, given: Any) -> TaskPlan:
    """Tasks with their rewards and constraints; an entry that several tasks name is one function.

    Args:
        given: `reward_funcs` of a task that names none.

    Raises `InputError` for an entry that cannot be resolved, and a task without a reward.
    """
    tasks = read_tasks(args)
    settings: Mapping[str, Any] = args.tasks or {}
    rewards, reward_users = Entries(), {}
    constraints, constraint_users = Entries(), {}
    for name in tasks:
        own = settings.get(name) or {}
        reward_users[name] = rewards.add(require_rewards(own.get("reward_funcs") or given))
        listed = own.get("constraints", args.constraints)
        constraint_users[name] = constraints.add(
            [] if listed is None else [*listed] if isinstance(listed, (list, tuple)) else [listed]
        )
    if args.tasks is None:
        resolved = weighted_rewards(rewards.listed, args)
    elif args.reward_weights is not None:
        raise InputError(
            "`reward_weights` does not go with `tasks`; write `weight` into the entries of `reward_funcs`."
        )
    else:
        resolved = resolve_reward_funcs(rewards.listed, deadline=args.reward_deadline)
    judges = resolve_constraints(constraints.listed, args.reward_deadline, resolved.names)
    count, funcs = len(resolved.funcs), [*resolved.funcs, *judges]
    planned = tuple(
        replace(task, rewards=reward_users[name], constraints=tuple(count + index for index in constraint_users[name]))
        for name, task in tasks.items()
    )
    if len(planned) > 1:
        for column, func in enumerate(funcs):
            users = [task.name for task in planned if column in (*task.rewards, *task.constraints)]
            funcs[column] = func if len(users) == len(planned) else for_tasks(func, users)
    weights = [*(resolved.weights or [1.0] * count), *([0.0] * len(judges))]
    names = [*resolved.names, *(judge.__name__ for judge in judges)]
    return TaskPlan(planned, ResolvedRewards(funcs, names, weights))


class Entries:
    """Entries of several lists, equal ones once."""

    def __init__(self) -> None:
        self.listed: list[Any] = []

    def add(self, entries: list[Any]) -> tuple[int, ...]:
        """The places of the entries, which are added where they are new."""
        self.listed += [entry for place, entry in enumerate(entries) if entry not in [*self.listed, *entries[:place]]]
        return tuple(self.listed.index(entry) for entry in entries)
