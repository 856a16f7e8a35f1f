"""What the PPO tests share: the online tests' worker, and a trainer with a generation batch that it has not trained on."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1] / "online"))

import pytest
import torch
from shaken import shake


@pytest.fixture
def make(bundled_model_dir, tmp_path):
    """Build a PPO trainer on the bundled model; its critic's head is random, so that a value loss has a gradient."""
    from online_worker import build

    def trainer(critic="separate", lora=True, key="ppo", rewards=None, head=True, **config):
        arguments = {"reward_funcs": rewards} if rewards else {}
        for name in ("quantization_config", "dpo_model", "dpo_ref"):
            if name in config:
                arguments[name] = config.pop(name)
        config = {"critic": critic, "num_generations": 1, "per_device_train_batch_size": 4, **config}
        config = {"max_completion_length": 16, "self_checks": False, **config}
        task = {"model": bundled_model_dir, "key": key, "output_dir": str(tmp_path / "out"), "lora": lora}
        built = build({**task, "config": config}, **arguments)
        if head:
            stream = torch.Generator().manual_seed(0)
            built.critic.head.weight.data.normal_(std=0.1, generator=stream)
        return built

    return trainer


@pytest.fixture
def rollouts():
    """A generation batch of a trainer, on one process."""

    def generate(trainer):
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        size = trainer.args.per_device_train_batch_size * trainer.args.steps_per_generation
        rows = [trainer.train_dataset[index // trainer.num_generations] for index in range(size)]
        return trainer._generate_and_score_completions(rows)

    return generate


@pytest.fixture
def adapter(bundled_model_dir, tmp_path):
    """A random LoRA adapter on the bundled model, with dropout, in a folder."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def save(name="dpo", std=0.1):
        model = AutoModelForCausalLM.from_pretrained(bundled_model_dir)
        lora = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.3, task_type="CAUSAL_LM")
        torch.manual_seed(0)
        model = get_peft_model(model, lora)
        shake(model, std)
        model.save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    return save
