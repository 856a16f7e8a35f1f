"""Reward functions and what they stand on: the pool of killable grading workers.

Importing this package imports none of the heavy libraries.
"""

from .grading import Grade, GradingPool, MathAccuracyReward


__all__ = ["Grade", "GradingPool", "MathAccuracyReward"]
