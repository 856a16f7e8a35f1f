"""The batch arithmetic is that of `transformers.Trainer` and of Accelerate's sampler."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from alignkit.errors import InputError
from alignkit.preflight.batch import batch_plan


def arguments(tmp_path, **options):
    from transformers import TrainingArguments

    return TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True, **options)


@pytest.mark.parametrize("rows", [1, 7, 30, 64])
def test_steps_equal_those_of_the_trainer(rows, tmp_path):
    from transformers import Trainer

    for batch, accumulation, drop_last, epochs, max_steps in itertools.product(
        (1, 4), (1, 3), (False, True), (1, 2.5), (-1, 5)
    ):
        if drop_last and rows < batch:
            continue
        args = arguments(
            tmp_path,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            dataloader_drop_last=drop_last,
            num_train_epochs=epochs,
            max_steps=max_steps,
            warmup_steps=0.1,
        )
        trainer = Trainer(torch.nn.Linear(1, 1), args, train_dataset=list(range(rows)), data_collator=list)
        _, steps_per_epoch, _, _, effective, _, total = trainer.set_initial_training_values(
            args, trainer.get_train_dataloader()
        )
        plan = batch_plan(args, rows)
        assert (plan.steps_per_epoch, plan.effective, plan.total_steps) == (steps_per_epoch, effective, total)
        assert plan.warmup_steps == args.get_warmup_steps(total)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("processes", [1, 2, 3, 64])
def test_batches_per_process_equal_those_of_accelerate(processes, drop_last):
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    for rows, batch in itertools.product((1, 10, 63, 64, 1000), (1, 4)):
        shard = BatchSamplerShard(BatchSampler(range(rows), batch, drop_last), processes, 0)
        args = SimpleNamespace(
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=1,
            dataloader_drop_last=drop_last,
            num_train_epochs=1,
            max_steps=-1,
            n_gpu=0,
            get_warmup_steps=lambda total: 0,
        )
        if len(shard) == 0:
            with pytest.raises(InputError, match="do not fill one batch"):
                batch_plan(args, rows, processes)
        else:
            assert batch_plan(args, rows, processes).steps_per_epoch == len(shard)


def test_the_effective_batch_multiplies_devices_accumulation_and_processes(tmp_path):
    args = arguments(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=8)
    plan = batch_plan(args, 1000, world_size=4)
    assert plan.effective == 64
    assert plan.steps_per_epoch == 16
    assert plan.last_batch == 1000 - 15 * 64


def test_a_streamed_data_set_needs_max_steps(tmp_path):
    with pytest.raises(InputError, match="`max_steps`"):
        batch_plan(arguments(tmp_path), None)
    assert batch_plan(arguments(tmp_path, max_steps=7), None).total_steps == 7


def test_a_world_size_below_one_is_refused(tmp_path):
    with pytest.raises(InputError, match="`--world-size` is 0"):
        batch_plan(arguments(tmp_path), 10, 0)
