"""SPPO in the loop: best against worst by win rate, the win rates kept as columns."""

from dataclasses import dataclass, field

import torch

from ....objectives.arguments import require_choice
from ....objectives.rewards import sppo_win_rates
from ....objectives.sampling import best_worst_pair
from ...preference.sppo import SPPOConfig
from ..config import LoopFields
from ..rule import Candidate, IterationRule, Judged, masked, pairs_of


WIN_RATE_MODES = ("population", "pair")


@dataclass
class SPPOLoopConfig(LoopFields, SPPOConfig):
    """Configuration of `alignkit loop sppo`."""

    win_rate_mode: str = field(
        default="population",
        metadata={
            "help": "'population': the win rate of a response against all K of its prompt, itself included; 'pair': the "
            "probability that the chosen beats the rejected, and 1 minus it (Eq. 4.12)."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        require_choice("win_rate_mode", self.win_rate_mode, WIN_RATE_MODES)
        if self.win_rates != "columns":
            raise ValueError(f"`win_rates` is {self.win_rates!r}; in the loop it is 'columns', which the judge fills.")


class Rule(IterationRule):
    """The pair of the largest and the smallest win rate; the win rate counts every sample, usable in a pair or not."""

    judge_output = "matrix"
    column_names = ("chosen_win_rate", "rejected_win_rate")

    def candidates(self, judged: Judged) -> list[Candidate]:
        preferences = judged.require_preferences()
        rates = sppo_win_rates(preferences)
        found = pairs_of(best_worst_pair(masked(rates, judged.usable)), {"win_rate": rates})
        if self.config.win_rate_mode == "population":
            return found
        return [pairwise(item, preferences) for item in found if not preferences[index(item)].isnan()]


def index(item: Candidate) -> tuple[int, int, int]:
    return item.prompt, item.chosen, item.rejected


def pairwise(item: Candidate, preferences: torch.Tensor) -> Candidate:
    """The same pair with P(chosen beats rejected) and its complement as win rates."""
    beats = float(preferences[index(item)])
    return Candidate(*index(item), {"chosen_win_rate": beats, "rejected_win_rate": 1 - beats})
