"""What the claim checks share: their options, their seeds, and where a figure and its numbers are written.

Every check is a script `benchmarks/claims/<key>.py` that trains on a controlled task with the method's own objective and
writes `docs/methods/img/<key>_claim.png` and `benchmarks/claims/results/<key>.json`. `--quick` is a short run for tests.
"""

import argparse
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch


matplotlib.use("Agg")
from matplotlib import pyplot as plt


REPOSITORY = Path(__file__).resolve().parents[2]
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
plt.rcParams.update(
    {
        "figure.dpi": 110,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
    }
)


@dataclass
class Options:
    """How large the check is and under which folder its two files are written."""

    quick: bool
    seeds: list[int]
    output: Path


def read_options(description: str | None, argv: Sequence[str] | None, seeds: int, quick_seeds: int = 2) -> Options:
    """Parse the command line of a claim check; a quick run writes under `outputs/claims` unless told otherwise."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short run, to see that the check works")
    parser.add_argument("--seeds", type=int, help=f"number of seeds (default {seeds}; {quick_seeds} with --quick)")
    parser.add_argument("--output", type=Path, help="folder to write under (default: this repository)")
    arguments = parser.parse_args(argv)
    count = arguments.seeds if arguments.seeds is not None else (quick_seeds if arguments.quick else seeds)
    if count < 1:
        parser.error(f"--seeds is {count}; give at least 1.")
    default = REPOSITORY / "outputs" / "claims" if arguments.quick else REPOSITORY
    torch.set_num_threads(1)
    return Options(quick=arguments.quick, seeds=list(range(count)), output=arguments.output or default)


def generator(seed: int) -> torch.Generator:
    """A random stream of its own for each seed."""
    return torch.Generator().manual_seed(seed)


def minimise(objective: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, steps: int = 500) -> torch.Tensor:
    """Parameters at which the smooth scalar objective is smallest, by L-BFGS from `start`."""
    parameters = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-10, tolerance_change=1e-16
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = objective(parameters)
        loss.backward()
        return loss

    optimizer.step(closure)
    return parameters.detach()


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean over the seeds, half-width of its 95 % interval (normal), smallest and largest value."""
    tensor = torch.tensor(values, dtype=torch.float64)
    spread = 1.96 * float(tensor.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {
        "mean": float(tensor.mean()),
        "ci95": None if math.isnan(spread) else spread,
        "min": float(tensor.min()),
        "max": float(tensor.max()),
    }


def save(key: str, figure: plt.Figure, result: dict, options: Options) -> None:
    """Write the figure and the numbers of one check, each under a temporary name first."""
    picture = options.output / "docs" / "methods" / "img" / f"{key}_claim.png"
    numbers = options.output / "benchmarks" / "claims" / "results" / f"{key}.json"
    for path in (picture, numbers):
        path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "method": key,
        "command": f"python benchmarks/claims/{key}.py",
        "seeds": len(options.seeds),
        "quick": options.quick,
        "torch": torch.__version__.split("+")[0],
    }
    figure.savefig(picture.with_suffix(".tmp"), format="png", bbox_inches="tight", facecolor="white", dpi=130)
    plt.close(figure)
    numbers.with_suffix(".tmp").write_text(json.dumps(header | result, indent=1) + "\n")
    for path in (picture, numbers):
        os.replace(path.with_suffix(".tmp"), path)
