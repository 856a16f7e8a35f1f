"""What to sample and at which temperature, one file per method."""

from .dcpo import check_dcpo, dcpo_temperature
from .dno import check_dno_pairs, check_dno_replay, dno_pair_mask, dno_replay_counts
from .hapo import hapo_temperature
from .inpo import Tournament, inpo_tournament
from .mpo import MPOSplit, mpo_split, mpo_threshold
from .pairs import PairIndices, best_worst_pair
from .riskpo import riskpo_bundle_scores, riskpo_update_quantiles


__all__ = [
    "MPOSplit",
    "PairIndices",
    "Tournament",
    "best_worst_pair",
    "check_dcpo",
    "check_dno_pairs",
    "check_dno_replay",
    "dcpo_temperature",
    "dno_pair_mask",
    "dno_replay_counts",
    "hapo_temperature",
    "inpo_tournament",
    "mpo_split",
    "mpo_threshold",
    "riskpo_bundle_scores",
    "riskpo_update_quantiles",
]
