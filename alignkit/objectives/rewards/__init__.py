"""Reward transformations, one file per method."""

from .bradley_terry import bradley_terry_preferences
from .dno import dno_win_rates
from .gdpo import gdpo_condition_rewards
from .reward_ensemble import BestOfN, best_of_n, best_of_n_kl, check_reward_ensemble, reward_ensemble
from .sppo import sppo_win_rates


__all__ = [
    "BestOfN",
    "best_of_n",
    "best_of_n_kl",
    "bradley_terry_preferences",
    "check_reward_ensemble",
    "dno_win_rates",
    "gdpo_condition_rewards",
    "reward_ensemble",
    "sppo_win_rates",
]
