"""Make the bundled model `bundled/tiny-math` and the bundled data sets from nothing.

    python data/make_tiny_model.py                          # minutes on two cores; writes into the package
    python data/make_tiny_model.py --output /some/folder    # the same, elsewhere

Steps: build a character-level tokenizer, train a 0.8M-parameter Qwen3 on arithmetic word problems until it is right
about half of the time, let it answer further problems, and write preference pairs, verifiable problems and the rest
as JSON lines. Text made without the model is the same bytes everywhere. Weights (and the pairs sampled from them)
repeat for the same torch build, processor type and --threads; `MANIFEST.json` records the arguments, the versions,
the accuracy before alignment and the sha256 of every file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any


sys.path.insert(0, str(Path(__file__).parent))

from tiny.datasets import Row, math_row, preference_rows, scored_rows, sft_row, task_rows
from tiny.problems import Problem, draw_distinct
from tiny.sampling import accuracy, generate
from tiny.tokenizer import build_tokenizer
from tiny.training import build_model, train


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

logger = logging.getLogger(__name__)
DEFAULT_OUTPUT = Path(__file__).parent.parent / "alignkit" / "data" / "bundled_files"
ACCURACY_RANGE = (0.35, 0.65)
SAMPLES_PER_PROBLEM = 6
# Problems whose samples are all right give no pair, so more are sampled than pairs are wanted.
PROBLEMS_PER_PAIR = 1.25


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make the bundled model and data sets.")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="torch threads; part of what fixes the weights")
    parser.add_argument("--steps", type=int, default=900, help="pre-training steps")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-2)
    parser.add_argument("--pairs", type=int, default=2400, help="rows of each preference set")
    parser.add_argument("--math", type=int, default=1200, help="rows of math")
    parser.add_argument("--sft", type=int, default=800, help="rows of sft")
    parser.add_argument("--math-eval", type=int, default=400, help="rows of math_eval")
    return parser


def draw_all(args: argparse.Namespace) -> dict[str, list[Problem]]:
    """The problems of `math`, `sft`, both preference sets (`pairs`) and `math_eval`; no arithmetic is in two of them."""
    taken: set[str] = set()
    counts = {"math": args.math, "sft": args.sft, "pairs": int(PROBLEMS_PER_PAIR * args.pairs)}
    problems = {
        name: draw_distinct(args.seed + offset, count, "align", taken)
        for offset, (name, count) in enumerate(counts.items(), start=1)
    }
    problems["math_eval"] = draw_distinct(args.seed + 100, args.math_eval, "eval", taken)
    return problems


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """One JSON object a line, written beside `path` and renamed."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    os.replace(temporary, path)


def write_model(folder: Path, model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    temporary = folder.with_name("model.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    (temporary / "model.safetensors").chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def write_manifest(output: Path, args: argparse.Namespace, before: float) -> None:
    """Arguments, versions, accuracy before alignment, and size and sha256 of every file."""
    import torch
    import transformers

    paths = sorted(path for path in output.rglob("*") if path.is_file() and path.name != "MANIFEST.json")
    manifest: dict[str, Any] = {
        "script": "data/make_tiny_model.py",
        "arguments": {name: value for name, value in sorted(vars(args).items()) if name != "output"},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "greedy_accuracy_on_math_eval": before,
        "files": {
            path.relative_to(output).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in paths
        },
    }
    temporary = output / "MANIFEST.tmp"
    temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, output / "MANIFEST.json")


def sample_answers(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem], seed: int
) -> list[list[str]]:
    """`SAMPLES_PER_PROBLEM` completions at temperature 1 for each problem."""
    import torch

    torch.manual_seed(seed)
    questions = [problem.text for problem in problems for _ in range(SAMPLES_PER_PROBLEM)]
    texts = generate(model, tokenizer, questions, sample=True)
    return [texts[start : start + SAMPLES_PER_PROBLEM] for start in range(0, len(texts), SAMPLES_PER_PROBLEM)]


def make(args: argparse.Namespace) -> float:
    """Write everything to `args.output`; returns the greedy accuracy on math_eval before alignment."""
    import torch

    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    args.output.mkdir(parents=True, exist_ok=True)
    problems = draw_all(args)
    for name, to_row in {"math": math_row, "sft": sft_row, "math_eval": math_row}.items():
        write_rows(args.output / f"{name}.jsonl", map(to_row, problems[name]))
    write_rows(args.output / "math_tasks.jsonl", task_rows(problems["math"]))

    tokenizer = build_tokenizer()
    model = build_model(tokenizer, args.seed)
    train(
        model,
        tokenizer,
        seed=args.seed,
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
    )
    write_model(args.output / "model", model, tokenizer)
    held_out = problems["math_eval"]
    completions = generate(model, tokenizer, [problem.text for problem in held_out])
    before = accuracy(completions, [problem.answer for problem in held_out])

    pairs = problems["pairs"]
    samples = sample_answers(model, tokenizer, pairs, args.seed + 1)
    write_rows(args.output / "preference.jsonl", preference_rows(pairs, samples, args.pairs))
    write_rows(args.output / "preference_scored.jsonl", scored_rows(pairs, samples, args.pairs, args.seed + 2))
    write_manifest(args.output, args, before)
    return before


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO)
    before = make(args)
    logger.info("greedy accuracy on math_eval: %.1f %%", 100 * before)
    low, high = ACCURACY_RANGE
    if not low <= before <= high:
        logger.error("outside the range %.0f-%.0f %%: change --steps", 100 * low, 100 * high)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
