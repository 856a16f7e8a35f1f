"""RLOO for the second stage: `trl.RLOOTrainer`, whose reward holds the KL to the reference, with exact resume."""

from dataclasses import dataclass

from trl import RLOOTrainer as TRLRLOOTrainer
from trl.trainer.rloo_config import RLOOConfig as TRLRLOOConfig

from ..devices import default_bf16
from ..epoch_sampler import EpochSamplerMixin
from ..resume import ExactResumeMixin
from ..run_facts import RunFactsMixin


@dataclass
class RLOOConfig(TRLRLOOConfig):
    """Configuration of [`RLOOTrainer`]: that of [`trl.RLOOConfig`].

    `bf16` defaults to `True` only where an accelerator supports it. Raises `ValueError` where a checkpoint would fall
    within a generation batch, whose responses a checkpoint does not hold.
    """

    def __post_init__(self):
        default_bf16(self)
        super().__post_init__()
        steps = self.steps_per_generation * self.num_iterations / self.gradient_accumulation_steps
        if self.save_strategy == "steps" and self.save_steps >= 1 and self.save_steps % steps:
            raise ValueError(
                f"`save_steps` is {self.save_steps:g}, but the responses of one generation last {steps:g} optimizer "
                f"steps (steps_per_generation * num_iterations / gradient_accumulation_steps); give a multiple of it, "
                "so that training can go on from every checkpoint."
            )


class RLOOTrainer(RunFactsMixin, ExactResumeMixin, EpochSamplerMixin, TRLRLOOTrainer):
    """`trl.RLOOTrainer` whose checkpoints are whole and whose resumed run sees the same prompts and responses."""

    _tag_names = ["alignkit", "trl", "rloo"]
    method_key = "mpo"
