"""Small runs of two-stage MPO: the bundled model, pairs made here, a reward that needs no model."""

import json
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from alignkit.config import load_run
from alignkit.judges import LengthJudge
from alignkit.trainers.two_stage.runner import MPORunner


LORA = {"use_peft": True, "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "lora_target_modules": ["all-linear"]}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


class BriefReward(LengthJudge):
    """Prefers the shorter response, and remembers how many it was asked about; empty ones it cannot score."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def score(self, response: str) -> float:
        self.asked += 1
        return super().score(response) if response else float("nan")


def pair(number: int, **columns) -> dict:
    """A pair whose chosen response is right."""
    return {
        "prompt": [{"role": "user", "content": f"Leo has {number + 20} cups and buys 5. How many?"}],
        "chosen": [{"role": "assistant", "content": f"{number + 20}+5={number + 25}\n\\boxed{{{number + 25}}}"}],
        "rejected": [{"role": "assistant", "content": f"\\boxed{{{number}}}"}],
        "answer": str(number + 25),
        **columns,
    }


def scored_pairs(count: int = 16) -> list[dict]:
    """Pairs with scores: the reward gap of pair n is n, but -n for every fifth."""
    return [pair(n, chosen_reward=float(-n if n % 5 == 0 else n), rejected_reward=0.0) for n in range(count)]


def write_pairs(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def base_settings(dataset: str, output_dir: Path) -> dict:
    """4 steps of DPO and 6 of RL in float32, a checkpoint after every step."""
    return {
        "model_name_or_path": "bundled/tiny-math",
        "dataset_name": dataset,
        "output_dir": str(output_dir),
        "reward": "length",
        "threshold": 7.5,
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "save_steps": 1,
        "logging_steps": 1,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        "dpo": {"max_length": 192},
        "rl": {"max_steps": 6, "num_generations": 2, "max_completion_length": 16},
    }


def runner(fields: dict, judge=None) -> MPORunner:
    """The runner of a run with these fields."""
    folder = Path(fields["output_dir"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = folder.parent / f"{folder.name}.yaml"
    config.write_text(yaml.safe_dump(fields))
    return MPORunner(load_run("mpo", str(config)), judge=judge)


def weights(folder) -> dict[str, torch.Tensor]:
    """The tensors of a model or adapter folder."""
    names = ("adapter_model.safetensors", "model.safetensors")
    return load_file(next(Path(folder) / name for name in names if (Path(folder) / name).exists()))


def distance(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    """Largest difference of two sets of tensors with the same names."""
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def read_rows(path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def read_json(path) -> dict:
    return json.loads(Path(path).read_text())
