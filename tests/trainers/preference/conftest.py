"""Small things to train on: the bundled model, pairs with every column, a config that runs on a CPU."""

import pytest


@pytest.fixture(scope="session")
def pairs():
    """64 pairs with the columns of every method of the family."""
    from alignkit.data import load

    return load("bundled/preference_scored", split="train[:64]")


@pytest.fixture
def settings(tmp_path):
    """Arguments that every config of these tests shares: float32, 5 steps of 4 pairs, nothing saved."""
    return {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 5,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        "max_length": 256,
    }


@pytest.fixture
def lora():
    """A small LoRA configuration without dropout."""
    from peft import LoraConfig

    return LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
