"""The reward trainer: its adapter carries the score head, and a resumed run is the uninterrupted one."""

import torch
from peft import LoraConfig
from safetensors.torch import load_file

from alignkit import RewardConfig, RewardTrainer
from alignkit.data import load


def train(model, folder, stop_after=None):
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == stop_after

    config = RewardConfig(
        output_dir=str(folder),
        max_steps=4,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        save_steps=2,
        report_to="none",
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    # Dropout, so that the random state matters to the weights.
    lora = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.1, task_type="CAUSAL_LM")
    data = load("bundled/preference", split="train[:24]")
    trainer = RewardTrainer(model, args=config, train_dataset=data, peft_config=lora, callbacks=[Stop()])
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model()


def test_stopped_and_resumed_equals_uninterrupted_and_the_head_is_saved(bundled_model_dir, tmp_path):
    train(bundled_model_dir, tmp_path / "whole")
    train(bundled_model_dir, tmp_path / "cut", stop_after=2)
    train(bundled_model_dir, tmp_path / "cut")
    whole, cut = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "cut"))
    assert any("score" in name for name in whole)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
