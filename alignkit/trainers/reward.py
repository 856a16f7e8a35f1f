"""Reward models: `trl.RewardTrainer` (the Bradley-Terry loss) with exact resume and the facts of its run."""

import logging
from dataclasses import dataclass, field

from trl import RewardTrainer as TRLRewardTrainer
from trl.trainer.reward_config import RewardConfig as TRLRewardConfig

from ..catalog import get
from ..errors import InputError
from .devices import default_bf16
from .resume import ExactResumeMixin
from .run_facts import RunFactsMixin


logger = logging.getLogger(__name__)


@dataclass
class RewardConfig(TRLRewardConfig):
    """Configuration of [`RewardTrainer`]: that of [`trl.RewardConfig`].

    `bf16` defaults to `True` only where an accelerator supports it.

    Parameters:
        ensemble (`int`, *optional*):
            Train so many members of an ensemble instead of one model.
    """

    ensemble: int | None = field(
        default=None,
        metadata={
            "help": "Train so many reward models that differ in their seed alone, into member_0, member_1, ... of "
            "`output_dir`: an ensemble (arXiv 2310.02743; 5 in the paper). Valid: at least 2; none: one model."
        },
    )

    def __post_init__(self):
        default_bf16(self)
        super().__post_init__()
        if self.ensemble is None:
            return
        if self.ensemble < 2:
            raise InputError(f"`ensemble` is {self.ensemble}; valid: at least 2, or none for one model.")
        if self.push_to_hub:
            raise InputError("`push_to_hub` does not go with `ensemble`; publish the members with `alignkit export`.")


class RewardTrainer(RunFactsMixin, ExactResumeMixin, TRLRewardTrainer):
    """Trains a sequence classifier with one output on `chosen` and `rejected` responses.

    The loss is `-log σ(r(chosen) - r(rejected))`. A LoRA configuration is made one for sequence classification, so that
    the new score head is trained and saved with the adapter. Arguments are those of `trl.RewardTrainer`.
    """

    _tag_names = ["alignkit", "trl", "reward-trainer"]
    _name = "Reward"
    _paper = get("reward").paper
    method_key = "reward"

    args: RewardConfig

    def __init__(self, *args, peft_config=None, **kwargs):
        if peft_config is not None and peft_config.task_type != "SEQ_CLS":
            logger.info("The adapter is one for sequence classification: its score head is trained with it.")
            peft_config.task_type = "SEQ_CLS"
        super().__init__(*args, peft_config=peft_config, **kwargs)
