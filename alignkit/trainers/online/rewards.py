"""The reward functions of a run, from its configuration."""

from typing import Any


def resolve_rewards(reward_funcs: Any, args: Any) -> list[Any]:
    """Temporary until alignkit.rewards.resolve_reward_funcs stands."""
    names = reward_funcs if reward_funcs is not None else args.reward_funcs
    if names == ["math_accuracy"]:
        from ...rewards import MathAccuracyReward

        return [MathAccuracyReward()]
    return names if isinstance(names, list) else [names]
