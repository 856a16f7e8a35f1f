"""Reward transformations, one file per method."""

from .bradley_terry import bradley_terry_preferences
from .cgpo import cgpo_constrained_reward, check_cgpo_kl_max
from .dno import dno_win_rates
from .gdpo import gdpo_condition_rewards
from .ppo import check_kl_rewards, kl_shaped_rewards
from .reward_ensemble import BestOfN, best_of_n, best_of_n_kl, check_reward_ensemble, reward_ensemble
from .rto import check_rto, rto_implicit_reward, rto_token_rewards
from .sppo import sppo_win_rates


__all__ = [
    "BestOfN",
    "best_of_n",
    "best_of_n_kl",
    "bradley_terry_preferences",
    "cgpo_constrained_reward",
    "check_cgpo_kl_max",
    "check_kl_rewards",
    "check_reward_ensemble",
    "check_rto",
    "dno_win_rates",
    "gdpo_condition_rewards",
    "kl_shaped_rewards",
    "reward_ensemble",
    "rto_implicit_reward",
    "rto_token_rewards",
    "sppo_win_rates",
]
