"""The reward functions of a run, from its arguments and its configuration."""

from dataclasses import replace
from typing import Any

from ...errors import InputError
from ...rewards import ResolvedRewards, resolve_reward_funcs


def resolve_rewards(reward_funcs: Any, args: Any) -> list[Any]:
    """What TRL takes as reward functions: named ones looked up, Python ones guarded, their weights put into `args`.

    Raises `InputError` where none is given, an entry cannot be resolved, or weights are given twice.
    """
    rewards = named_rewards(reward_funcs, args)
    args.reward_weights = rewards.weights
    return list(rewards.funcs)


def named_rewards(reward_funcs: Any, args: Any) -> ResolvedRewards:
    """The same with the names under which they are logged, `args` left as it is."""
    return args.rewards_of(args.reward_funcs if reward_funcs is None else reward_funcs)


def require_rewards(given: Any) -> list[Any]:
    """The entries of `reward_funcs` as a list; `InputError` where there is none."""
    if not given:
        raise InputError(
            "`reward_funcs` is missing: name what scores the completions, e.g. `reward_funcs: [math_accuracy]` "
            "(`alignkit rewards` lists the names)."
        )
    return list(given) if isinstance(given, (list, tuple)) else [given]


def weighted_rewards(given: Any, args: Any) -> ResolvedRewards:
    """The entries of `reward_funcs` resolved, with the weights that they or `args.reward_weights` give."""
    resolved = resolve_reward_funcs(require_rewards(given), deadline=args.reward_deadline)
    return replace(resolved, weights=resolved.merged_weights(args.reward_weights))
