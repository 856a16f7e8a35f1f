"""Start a loop in this process, and compare what two loops left."""

import json
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from alignkit.config import load_run
from alignkit.judges import LengthJudge
from alignkit.trainers.iterative import loop_method
from alignkit.trainers.iterative.runner import LoopRunner


LORA = {"use_peft": True, "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "lora_target_modules": ["all-linear"]}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


class CountingJudge(LengthJudge):
    """Prefers the shorter response, and remembers what it was asked."""

    def __init__(self, asked: list) -> None:
        super().__init__()
        self.asked = asked

    def score_batch(self, prompts, responses):
        self.asked.extend((json.dumps(prompt), response) for prompt, response in zip(prompts, responses, strict=True))
        return super().score_batch(prompts, responses)


def base_settings(prompts_file: str) -> dict:
    """A loop of two iterations with 4 prompts each; float32, a checkpoint after every step."""
    return {
        "model_name_or_path": "bundled/tiny-math",
        "dataset_name": prompts_file,
        "judge": "length",
        "num_iterations": 2,
        "num_generations": 4,
        "num_prompts": 8,
        "num_eval_prompts": 4,
        "max_completion_length": 48,
        "generation_batch_size": 8,
        "judge_batch_size": 3,
        "max_length": 192,
        "per_device_train_batch_size": 2,
        "learning_rate": 5e-5,  # small: the policy must go on giving responses of different lengths
        "num_train_epochs": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "logging_steps": 1,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
    }


def runner(key: str, settings: dict, judge=None) -> LoopRunner:
    """The runner of a loop with these fields."""
    folder = Path(settings["output_dir"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = folder.parent / f"{folder.name}.yaml"
    config.write_text(yaml.safe_dump(settings))
    return LoopRunner(load_run(loop_method(key), str(config)), judge=judge)


def weights(folder) -> dict[str, torch.Tensor]:
    """The tensors of a model or adapter folder."""
    names = ("adapter_model.safetensors", "model.safetensors")
    return load_file(next(Path(folder) / name for name in names if (Path(folder) / name).exists()))


def assert_equal_weights(left, right, tolerance: float = 0.0) -> None:
    left, right = weights(left), weights(right)
    assert left.keys() == right.keys()
    for name in left:
        assert (left[name] - right[name]).abs().max() <= tolerance, name


def assert_same_run(left, right) -> None:
    """Byte-identical data of every stage, and identical final weights."""
    left, right = Path(left), Path(right)
    folders = sorted(path.name for path in left.glob("iter_*"))
    assert folders and folders == sorted(path.name for path in right.glob("iter_*"))
    for name in folders:
        for file in ("prompts.jsonl", "responses.jsonl", "pairs.jsonl", "dataset.jsonl"):
            assert (left / name / file).read_bytes() == (right / name / file).read_bytes(), f"{name}/{file}"
    assert_equal_weights(left / "final", right / "final")


def history(folder) -> list[dict]:
    """The metrics of the first policy and of every iteration."""
    return read_rows(Path(folder) / "metrics.jsonl")


def read_rows(path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]
