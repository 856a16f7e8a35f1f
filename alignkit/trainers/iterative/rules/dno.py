"""DNO in the loop: all pairs with a large margin, a teacher's response among them, replay of older pairs."""

from dataclasses import dataclass, field

import torch

from ....objectives.arguments import require_choice, require_range
from ....objectives.rewards import dno_win_rates
from ....objectives.sampling import check_dno_pairs, check_dno_replay, dno_pair_mask, dno_replay_counts
from ...preference.dno import DNOConfig
from ..config import LoopFields
from ..rule import Candidate, IterationRule, Judged, masked
from ..state import LoopState


RANKINGS = ("scores", "win_rates")


@dataclass
class DNOLoopConfig(LoopFields, DNOConfig):
    """Configuration of `alignkit loop dno`."""

    temperature: float = field(
        default=0.7, metadata={"help": "Sampling temperature of the responses. Valid: above 0."}
    )
    top_p: float = field(
        default=0.95, metadata={"help": "Sample from the most likely tokens of this total probability. Valid: (0, 1]."}
    )
    gold_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of the teacher's response to each prompt (text or assistant messages), judged beside the K "
            "samples. Without it there are the samples only."
        },
    )
    rank_by: str = field(
        default="scores",
        metadata={
            "help": "'scores': the judge's score of each response (the paper's experiments, 0 to 6); 'win_rates': the "
            "win rate against the others, in [0, 1] (Algorithm 2). The three thresholds below are on this scale."
        },
    )
    min_positive: float = field(
        default=5.0, metadata={"help": "Least score of a chosen response, on the scale of rank_by."}
    )
    margin: float = field(
        default=2.0,
        metadata={"help": "Least gap of a pair whose chosen response is the teacher's. Valid: above 0."},
    )
    student_margin: float = field(
        default=1.0, metadata={"help": "Least gap of a pair whose chosen response is a sample. Valid: above 0."}
    )
    replay_fraction: float = field(
        default=0.3,
        metadata={"help": "Share of the last iteration's pairs that is trained on again. Valid: in [0, 1]."},
    )
    replay_decay: float = field(
        default=0.5, metadata={"help": "Factor on that share for each iteration further back. Valid: in [0, 1]."}
    )

    def __post_init__(self):
        super().__post_init__()
        require_choice("rank_by", self.rank_by, RANKINGS)
        check_dno_pairs(self.min_positive, self.margin, self.student_margin)
        require_range("replay_fraction", self.replay_fraction, 0.0, 1.0)
        require_range("replay_decay", self.replay_decay, 0.0, 1.0)
        check_dno_replay(self.replay_fraction, self.replay_decay)

    def check_num_generations(self) -> None:
        require_range("num_generations", self.num_generations, 1 if self.gold_column else 2)


class Rule(IterationRule):
    """Pairs by thresholds; old pairs come again with references of the current policy; the best policy is returned."""

    one_pair_per_prompt = False

    def __init__(self, config: DNOLoopConfig) -> None:
        super().__init__(config)
        self.gold_column = config.gold_column
        soft = config.dno_variant == "soft"
        self.judge_output = "matrix" if soft or config.rank_by == "win_rates" else "scores"
        self.column_names = ("chosen_win_rate", "rejected_win_rate") if soft else ()

    def needs_scores(self) -> bool:
        return self.config.rank_by == "scores"

    def candidates(self, judged: Judged) -> list[Candidate]:
        config = self.config
        rates = dno_win_rates(judged.preferences) if judged.preferences is not None else None
        ranked = judged.scores if config.rank_by == "scores" else rates
        assert ranked is not None, "the judge has no scores; the runner checks that before it starts"
        mask = dno_pair_mask(
            masked(ranked, judged.usable), judged.is_teacher, config.min_positive, config.margin, config.student_margin
        )
        found = []
        for n, i, j in torch.nonzero(mask).tolist():
            values = {}
            if self.column_names:
                assert rates is not None
                values = {"chosen_win_rate": float(rates[n, i]), "rejected_win_rate": float(rates[n, j])}
            found.append(Candidate(n, i, j, values))
        return found

    def replay_counts(self, history_sizes: list[int]) -> list[int]:
        return dno_replay_counts(history_sizes, self.config.replay_fraction, self.config.replay_decay).tolist()

    def final(self, state: LoopState) -> str:
        return state.best.path
