"""Small runs of direct advantage: the bundled model, a few problems, a reward that needs no worker."""

from pathlib import Path

import yaml
from safetensors.torch import load_file

from alignkit.config import load_run
from alignkit.judges import RegexJudge
from alignkit.trainers.steps.runner import DirectAdvantageRunner


LORA = {"use_peft": True, "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "lora_target_modules": ["all-linear"]}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def even_answers() -> RegexJudge:
    """Scores 1 for an even answer and 0 for any other response."""
    return RegexJudge(r"\\boxed\{\d*[02468]\}")


def base_settings(output_dir: Path, **changes) -> dict:
    """Two iterations on three problems, three steps of each training, a checkpoint after the second."""
    return {
        "model_name_or_path": "bundled/tiny-math",
        "dataset_name": "bundled/math",
        "output_dir": str(output_dir),
        "reward": "exact_answer",
        "num_iterations": 2,
        "num_prompts": 3,
        "num_generations": 4,
        "num_kept": 2,
        "num_completions": 4,
        "max_completion_length": 32,
        "beta": 0.1,
        "min_gap": 0.01,
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 3e-3,
        "save_steps": 2,
        "logging_steps": 1,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        **LORA,
        **changes,
    }


def runner(fields: dict, judge=None) -> DirectAdvantageRunner:
    """The runner of a run with these fields."""
    folder = Path(fields["output_dir"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = folder.parent / f"{folder.name}.yaml"
    config.write_text(yaml.safe_dump(fields))
    return DirectAdvantageRunner(load_run("direct_advantage", str(config)), judge or even_answers())


def weights(folder) -> dict:
    """The tensors of an adapter folder."""
    return load_file(Path(folder) / "adapter_model.safetensors")


def distance(left: dict, right: dict) -> float:
    """Largest difference of two sets of tensors with the same names."""
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)
