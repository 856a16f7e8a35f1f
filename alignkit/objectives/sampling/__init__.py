"""What to sample and at which temperature, one file per method."""

from .cgpo import WeightedChoice, cgpo_codpo_pairs, cgpo_crraft_select
from .dcpo import check_dcpo, dcpo_temperature
from .dno import check_dno_pairs, check_dno_replay, dno_pair_mask, dno_replay_counts
from .hapo import hapo_temperature
from .inpo import Tournament, inpo_tournament
from .mpo import MPOSplit, mpo_split, mpo_threshold
from .pairs import PairIndices, best_worst_pair
from .parl import check_parl_mixtures, parl_routes, parl_swap
from .riskpo import riskpo_bundle_scores, riskpo_update_quantiles
from .seppo import REFERENCE_STRATEGIES, seppo_reference_index
from .tppo import Slots, TokenMasks, check_tppo, tppo_advance, tppo_token_masks


__all__ = [
    "REFERENCE_STRATEGIES",
    "MPOSplit",
    "PairIndices",
    "Slots",
    "TokenMasks",
    "Tournament",
    "WeightedChoice",
    "best_worst_pair",
    "cgpo_codpo_pairs",
    "cgpo_crraft_select",
    "check_dcpo",
    "check_dno_pairs",
    "check_dno_replay",
    "check_parl_mixtures",
    "check_tppo",
    "dcpo_temperature",
    "dno_pair_mask",
    "dno_replay_counts",
    "hapo_temperature",
    "inpo_tournament",
    "mpo_split",
    "mpo_threshold",
    "parl_routes",
    "parl_swap",
    "riskpo_bundle_scores",
    "riskpo_update_quantiles",
    "seppo_reference_index",
    "tppo_advance",
    "tppo_token_masks",
]
