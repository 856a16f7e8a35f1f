"""INPO in the loop: the winner against the loser of a tournament, with the last and the fixed policy as references."""

from dataclasses import dataclass, field

from ....objectives.sampling import inpo_tournament
from ...preference.inpo import INPOConfig
from ..config import LoopFields
from ..rule import Candidate, IterationRule, Judged, pairs_of
from ..state import LoopState


@dataclass
class INPOLoopConfig(LoopFields, INPOConfig):
    """Configuration of `alignkit loop inpo`."""

    num_generations: int = field(
        default=8,
        metadata={"help": "Responses K sampled for each prompt, the players of the tournament. Valid: a power of 2."},
    )

    def __post_init__(self):
        super().__post_init__()
        if self.reference_model:
            raise ValueError(
                f"`reference_model` is {self.reference_model!r}; in the loop the fixed reference is the model that the "
                "loop starts from, so leave it out."
            )

    def check_num_generations(self) -> None:
        if self.num_generations < 2 or self.num_generations & (self.num_generations - 1):
            raise ValueError(
                f"`num_generations` is {self.num_generations}; INPO's tournament needs a power of two, at least 2."
            )


class Rule(IterationRule):
    """Tournament of 3K/2 - 1 comparisons; the pair is kept if the winner also beats the loser."""

    judge_output = "tournament"

    def candidates(self, judged: Judged) -> list[Candidate]:
        return pairs_of(inpo_tournament(judged.require_preferences()))

    def reference_paths(self, state: LoopState) -> dict[str, str]:
        return {"ref": state.reference, "last": state.policy}
