"""Reward functions and constraints: by name, by path or as models; each behind a guard; killable grading workers.

`resolve_reward_funcs(entries)` turns the `reward_funcs` of a YAML into what TRL's trainers take. Importing this package
imports none of the heavy libraries.
"""

import importlib
from typing import TYPE_CHECKING


_EXPORTS = {
    "CONSTRAINTS": "constraints",
    "REWARDS": "table",
    "Grade": "grading",
    "GradingPool": "grading",
    "Guard": "guard",
    "JudgeReward": "judged",
    "MathAccuracyReward": "grading",
    "ResolvedRewards": "resolve",
    "RewardCheck": "self_check",
    "RewardError": "guard",
    "guard_reward": "guard",
    "resolve_constraints": "constraints",
    "resolve_reward_funcs": "resolve",
    "self_check_rewards": "self_check",
}

__all__ = [
    "CONSTRAINTS",
    "REWARDS",
    "Grade",
    "GradingPool",
    "Guard",
    "JudgeReward",
    "MathAccuracyReward",
    "ResolvedRewards",
    "RewardCheck",
    "RewardError",
    "guard_reward",
    "resolve_constraints",
    "resolve_reward_funcs",
    "self_check_rewards",
]

if TYPE_CHECKING:
    from .constraints import CONSTRAINTS, resolve_constraints
    from .grading import Grade, GradingPool, MathAccuracyReward
    from .guard import Guard, RewardError, guard_reward
    from .judged import JudgeReward
    from .resolve import ResolvedRewards, resolve_reward_funcs
    from .self_check import RewardCheck, self_check_rewards
    from .table import REWARDS


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module 'alignkit.rewards' has no attribute {name!r}")
