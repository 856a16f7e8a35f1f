"""What `pairs.py`, `groups.py` and `gpu.py` share: small models, steps timed in turn, memory, the table."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from paired import interval, synchronize
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from alignkit.data.bundled import resolve_model


TOKENIZER = "bundled/tiny-math"
TOKENS = (4, 100)  # those that it knows, which all batches are drawn from


class Cost(NamedTuple):
    """One step: seconds on the clock, seconds of CPU time of this process."""

    wall: float
    cpu: float


def small_model(path: Path, vocabulary: int = 4096) -> str:
    """The model of the CPU runs: Qwen3-shaped, hidden size 256, 4 layers, 4.2 M parameters."""
    return random_model(path, 256, 4, 8, 4, 32, 768, vocabulary)


def random_model(
    path: Path,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    intermediate: int,
    vocabulary: int,
    dtype: torch.dtype = torch.float32,
) -> str:
    """Write a Qwen3-shaped model with random weights and the bundled tokenizer to a folder; the folder's name."""
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        eos_token_id=3,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).to(dtype).save_pretrained(path)
    AutoTokenizer.from_pretrained(resolve_model(TOKENIZER)).save_pretrained(path)
    return str(path)


def timed(step: Callable[[], Any]) -> Cost:
    """What one call costs."""
    synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    synchronize()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def optimize(trainer: Any, batch: Any) -> None:
    """One whole optimisation step: forward, reference, backward, clip, update."""
    trainer.training_step(trainer.model, batch, None)
    trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.model.zero_grad()


def peak_memory(trainer: Any, batch: Any) -> int:
    """Bytes: of CUDA memory at its highest, or on a CPU of the tensors saved for the backward pass.

    Storages are counted once, the model's own weights not at all.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        trainer.training_step(trainer.model, batch, None)
        synchronize()
        peak = torch.cuda.max_memory_allocated()
    else:
        weights = {tensor.untyped_storage().data_ptr() for tensor in trainer.model.state_dict().values()}
        saved: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            trainer.training_step(trainer.model, batch, None)
        peak = sum(saved.values())
    trainer.model.zero_grad()
    return peak


def compare(
    theirs: Any, ours: Any, batches: Callable[[int], tuple[Any, Any, int]], rounds: int, warm_up: int = 2
) -> dict[str, float]:
    """Steps of two trainers on the same batches in alternating order.

    Args:
        theirs, ours: prepared trainers (`paired.prepare`).
        batches: of a round: their batch, our batch (the same data), and its number of unique tokens (prompt once, no
            padding).

    Returns:
        speedup: median of their time / our time of a round, CPU time on a CPU, clock time on a GPU; ci_low, ci_high: its
        95 % bootstrap interval; total: all of their time / all of ours; wall_speedup: by the clock; tokens_per_second:
        unique tokens by ours, trl_tokens_per_second; peak_bytes and trl_peak_bytes of one batch, memory: their ratio.
    """
    costs: list[tuple[Cost, Cost]] = []
    tokens = 0
    for number in range(rounds + warm_up):
        their_batch, our_batch, count = batches(number)
        order = [("theirs", theirs, their_batch), ("ours", ours, our_batch)]
        cost = {
            who: timed(lambda trainer=trainer, batch=batch: optimize(trainer, batch))
            for who, trainer, batch in (order if number % 2 else reversed(order))
        }
        if number >= warm_up:
            costs.append((cost["theirs"], cost["ours"]))
            tokens += count
    clock = "wall" if torch.cuda.is_available() else "cpu"
    ratios = [getattr(left, clock) / getattr(right, clock) for left, right in costs]
    low, high = interval(ratios)
    seconds = [sum(getattr(pair[side], clock) for pair in costs) for side in (0, 1)]
    their_batch, our_batch, _ = batches(0)
    peaks = peak_memory(theirs, their_batch), peak_memory(ours, our_batch)
    return {
        "speedup": statistics.median(ratios),
        "ci_low": low,
        "ci_high": high,
        "total": seconds[0] / seconds[1],
        "wall_speedup": statistics.median(left.wall / right.wall for left, right in costs),
        "tokens_per_second": tokens / seconds[1],
        "trl_tokens_per_second": tokens / seconds[0],
        "peak_bytes": peaks[1],
        "trl_peak_bytes": peaks[0],
        "memory": peaks[1] / peaks[0],
        "rounds": rounds,
    }


def line(name: str, row: dict[str, float]) -> str:
    """A row of the table of docs/speed.md."""
    return (
        f"| {name} | {row['speedup']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f}) | {row['total']:.2f} | "
        f"{row['trl_tokens_per_second']:,.0f} | {row['tokens_per_second']:,.0f} | {row['memory']:.2f} |"
    )


HEAD = (
    "| | speed-up (95 % interval) | over all rounds | TRL, unique tokens/s | alignkit | peak memory / TRL |\n"
    "|---|---|---|---|---|---|"
)


def write(table: dict[str, dict[str, float]], settings: dict[str, Any], path: Path) -> None:
    """Print the last row as Markdown and write the table as JSON beside the settings and the device."""
    if len(table) == 1:
        print(HEAD)
    name = list(table)[-1]
    print(line(name, table[name]), flush=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    versions = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"settings": {**settings, **versions, "device": device}, "rows": table}, indent=2) + "\n"
    )
