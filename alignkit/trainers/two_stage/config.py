"""The configuration of two-stage MPO: the split, the two strengths, and what each stage's trainer is given."""

import math
from dataclasses import dataclass, field
from typing import Any

from trl.trainer.base_config import _BaseConfig

from ...objectives.arguments import require_choice, require_range
from ...objectives.sampling.mpo import SELECTIONS
from ..devices import default_bf16
from .rl import RL_TRAINERS


SCORES_FROM = ("columns", "reward")


@dataclass
class MPOConfig(_BaseConfig):
    """Configuration of two-stage MPO (`alignkit loop mpo`).

    The fields that both stages' trainers share (batch size, learning rate, steps, ...) are given to both; `dpo` and
    `rl` hold what is to differ in one of them. What neither gives stays at that trainer's own default.
    """

    threshold: float | None = field(
        default=None,
        metadata={
            "help": "gamma: a pair whose reward gap is above it is easy. On the scale of the reward; no value of the "
            "paper is known. Give this or easy_fraction. Valid: at least 0."
        },
    )
    easy_fraction: float | None = field(
        default=None,
        metadata={
            "help": "Instead of threshold: gamma is chosen so that this share of the pairs is easy (not in the paper; "
            "ours). Valid: (0, 1)."
        },
    )
    selection: str = field(
        default="absolute",
        metadata={
            "help": "absolute: the gap is |r(chosen) - r(rejected)|, as in the paper; signed: r(chosen) - r(rejected), "
            "so that pairs ranked against their label are never easy (ours)."
        },
    )
    reward: str | None = field(
        default=None,
        metadata={
            "help": "The reward, used twice: to score the pairs (unless the data set holds scores) and to score the "
            "responses of the second stage. 'exact_answer' (math-verify on the column of the right answer), 'length', "
            "the name or folder of a reward model, or a judge file (.yaml or .json) of a judge with scores."
        },
    )
    answer_column: str = field(
        default="answer", metadata={"help": "Column of the right answer, for the reward 'exact_answer'."}
    )
    scores_from: str | None = field(
        default=None,
        metadata={
            "help": "columns: the gaps come from chosen_reward and rejected_reward (or chosen_score and rejected_score, "
            "or reward_margin); reward: the pairs are scored with `reward`. Left out: the columns where they are there."
        },
    )
    beta_dpo: float = field(
        default=0.1,
        metadata={"help": "beta_1 of DPO in the first stage. Not given in the paper; ours. Valid: above 0."},
    )
    beta_rl: float = field(
        default=0.05,
        metadata={
            "help": "beta_2, the weight of the KL to the DPO model in the second stage. Not given in the paper; ours. "
            "Valid: above 0 (0 would drop the reference, which is the point of the method)."
        },
    )
    rl_trainer: str = field(
        default="rloo",
        metadata={
            "help": "Trainer of the second stage. rloo: the paper's objective without a critic; ppo: with one, as in the "
            "paper (`rl: {critic: adapter}` with LoRA)."
        },
    )
    dpo: dict[str, Any] = field(
        default_factory=dict,
        metadata={"help": "Fields of the DPO trainer's config for the first stage alone, e.g. {max_steps: 100}."},
    )
    rl: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": "Fields of the RL trainer's config for the second stage alone, e.g. {num_generations: 8, "
            "max_completion_length: 256}."
        },
    )

    def __post_init__(self):
        default_bf16(self)
        super().__post_init__()
        if (self.threshold is None) == (self.easy_fraction is None):
            both = "both are" if self.threshold is not None else "neither is"
            raise ValueError(f"give either `threshold` or `easy_fraction`; {both} given.")
        if self.threshold is not None:
            require_range("threshold", self.threshold, 0.0, math.inf, high_open=True)
        if self.easy_fraction is not None:
            require_range("easy_fraction", self.easy_fraction, 0.0, 1.0, low_open=True, high_open=True)
        require_choice("selection", self.selection, SELECTIONS)
        if self.scores_from is not None:
            require_choice("scores_from", self.scores_from, SCORES_FROM)
        require_range("beta_dpo", self.beta_dpo, 0.0, math.inf, low_open=True, high_open=True)
        require_range("beta_rl", self.beta_rl, 0.0, math.inf, low_open=True, high_open=True)
        require_choice("rl_trainer", self.rl_trainer, tuple(RL_TRAINERS))
        if not self.reward:
            raise ValueError("`reward` is missing; name 'exact_answer', a reward model or a judge file.")
