"""RLOO for the second stage: `trl.RLOOTrainer`, whose reward holds the KL to the reference, with exact resume."""

from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback
from trl import RLOOTrainer as TRLRLOOTrainer
from trl.trainer.rloo_config import RLOOConfig as TRLRLOOConfig
from trl.trainer.utils import RepeatSampler

from ..devices import default_bf16
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


class EpochSampler(RepeatSampler):
    """TRL's sampler with an order that depends on the epoch alone: TRL's own starts over after a resume."""

    epoch = 0

    def __iter__(self):
        if self.shuffle:
            self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


class SetEpoch(TrainerCallback):
    """Tells the sampler which epoch begins."""

    def __init__(self, trainer: "RLOOTrainer") -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        if self.trainer.epoch_sampler is not None:
            self.trainer.epoch_sampler.epoch = int(state.epoch + 1e-6)


class RLOOTrainer(RunFactsMixin, ExactResumeMixin, TRLRLOOTrainer):
    """`trl.RLOOTrainer` whose checkpoints are whole and whose resumed run sees the same prompts and responses."""

    _tag_names = ["alignkit", "trl", "rloo"]
    method_key = "mpo"
    epoch_sampler: Any = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.add_callback(SetEpoch(self))

    def _get_train_sampler(self, dataset=None):
        known = super()._get_train_sampler(dataset)
        self.epoch_sampler = EpochSampler(
            data_source=known.data_source,
            mini_repeat_count=known.mini_repeat_count,
            batch_size=known.batch_size,
            repeat_count=known.repeat_count,
            shuffle=known.shuffle,
            seed=known.seed,
        )
        return self.epoch_sampler
