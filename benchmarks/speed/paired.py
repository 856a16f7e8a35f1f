"""What the paired timings share: steps in alternating order, the median ratio with its interval, the table as JSON."""

import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


WARM_UP = 5


def step_seconds(trainer: Any, batch: Any) -> float:
    """Seconds of one whole optimisation step of a trainer: forward, backward, clip, update."""
    synchronize()
    start = time.perf_counter()
    trainer.training_step(trainer.model, batch, None)
    trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.model.zero_grad()
    synchronize()
    return time.perf_counter() - start


def synchronize() -> None:
    """Wait for the device, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def prepare(trainer: Any) -> Any:
    """The trainer with its model and optimizer on the device, ready for `step_seconds`."""
    trainer.create_optimizer()
    trainer.model, trainer.optimizer = trainer.accelerator.prepare(trainer.model, trainer.optimizer)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def paired_ratios(theirs: Callable[[int], float], ours: Callable[[int], float], rounds: int) -> dict[str, float]:
    """Time both in each round, in alternating order; {ratio (ours / theirs, median), ci_low, ci_high, rounds}."""
    ratios = []
    for number in range(rounds + WARM_UP):
        order = [("theirs", theirs), ("ours", ours)]
        seconds = {who: timed(number) for who, timed in (order if number % 2 else reversed(order))}
        if number >= WARM_UP:
            ratios.append(seconds["ours"] / seconds["theirs"])
    low, high = interval(ratios)
    return {"ratio": statistics.median(ratios), "ci_low": low, "ci_high": high, "rounds": rounds}


def interval(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def report(table: dict[str, dict[str, float]], settings: dict[str, Any], path: Path) -> None:
    """Print the ratios and write them beside the settings and the device."""
    for name, row in table.items():
        low, high = row["ci_low"], row["ci_high"]
        print(f"{name:<10} alignkit / TRL: {row['ratio']:.3f}  (95 % interval {low:.3f} to {high:.3f})")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"settings": {**settings, "device": device}, "methods": table}, indent=2) + "\n")
