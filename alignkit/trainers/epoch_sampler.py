"""TRL's prompt sampler made resumable: which prompts come next depends on the epoch, not on what was drawn before."""

from typing import Any

import torch
from transformers import TrainerCallback
from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):
    """TRL's sampler, in whose every epoch the order is the one that TRL draws in an uninterrupted run.

    TRL's own starts over with the first epoch's order after a resume.
    """

    epoch = 0

    def __iter__(self):
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(self.epoch):
                torch.randperm(self.num_samples, generator=self.generator)
        return super().__iter__()


class SetEpoch(TrainerCallback):
    """Tells the sampler which epoch begins. `set_epoch` would not do: accelerate hides the sampler from it."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        if self.trainer.epoch_sampler is not None:
            self.trainer.epoch_sampler.epoch = int(state.epoch + 1e-6)


class EpochSamplerMixin:
    """Mixin for `trl.GRPOTrainer` and `trl.RLOOTrainer`: the prompts of a resumed run are those of an uninterrupted one."""

    epoch_sampler: Any = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.add_callback(SetEpoch(self))  # type: ignore[attr-defined]

    def _get_train_sampler(self, dataset=None):
        known = super()._get_train_sampler(dataset)  # type: ignore[misc]
        self.epoch_sampler = EpochSampler(
            data_source=known.data_source,
            mini_repeat_count=known.mini_repeat_count,
            batch_size=known.batch_size,
            repeat_count=known.repeat_count,
            shuffle=known.shuffle,
            seed=known.seed,
        )
        return self.epoch_sampler
