"""Training runs in processes of their own, and what they leave behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file


def launch(worker: Path, task: dict, processes: int = 1) -> subprocess.CompletedProcess:
    """Run `python WORKER JSON`, under `accelerate launch` (gloo) where several processes are asked for."""
    command = [sys.executable, str(worker), json.dumps(task)]
    if processes > 1:
        launcher = [
            "-m",
            "accelerate.commands.launch",
            "--multi_gpu",  # torchrun; without a GPU it is gloo, while `--cpu` would start one process
            "--num_processes",
            str(processes),
            "--mixed_precision",
        ]
        port = str(29500 + os.getpid() % 2000)
        command[1:1] = [*launcher, "no", "--num_machines", "1", "--dynamo_backend", "no", "--main_process_port", port]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def weights(folder: str | Path) -> dict[str, torch.Tensor]:
    """The weights, or the adapter, that a run saved."""
    names = ("adapter_model.safetensors", "model.safetensors")
    return load_file(next(Path(folder) / name for name in names if (Path(folder) / name).exists()))


def assert_equal_weights(left: str | Path, right: str | Path) -> None:
    """Fail unless two folders hold the same weights, to the last bit."""
    ours, theirs = weights(left), weights(right)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def checkpoints(folder: str | Path) -> list[str]:
    """Names of the checkpoints in a folder."""
    return sorted(path.name for path in Path(folder).glob("checkpoint-*"))
