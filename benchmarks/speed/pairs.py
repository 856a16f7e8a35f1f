"""How much faster a DPO step is when each prompt is computed once: alignkit beside `trl.DPOTrainer`, in turn.

    OMP_NUM_THREADS=1 python benchmarks/speed/pairs.py --quick          # two minutes
    OMP_NUM_THREADS=1 python benchmarks/speed/pairs.py                  # all six length distributions, 20 rounds each

Both trainers take the same batches of random tokens, with lengths drawn from the distributions of `lengths.py`, through
their own collators and their own `training_step` (policy, live reference, loss, backward), clip and update. The model is
Qwen3-shaped with random weights. On a CPU the lengths are scaled by `--scale`, as the model is narrower than a real one:
so attention and linear layers keep about the proportion that they have there. Prints the table of docs/speed.md and
writes JSON.

On a CPU TRL's fused head scores every place of the padded batch, on a GPU only the completions; with `--vocabulary 128` the
head costs next to nothing, and what is left is the backbone.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from lengths import DATASETS
from paired import prepare
from side_by_side import TOKENS, compare, small_model, write
from trl import DPOConfig as TRLDPOConfig
from trl import DPOTrainer as TRLDPOTrainer

from alignkit import DPOConfig, DPOTrainer
from alignkit.data import load


def build(trainer_class, config_class, model, pairs, given=None, **settings):
    """A prepared trainer; `given` are further arguments of the trainer, `settings` of its configuration."""
    config = config_class(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=pairs,
        max_length=None,
        learning_rate=1e-6,
        report_to="none",
        save_strategy="no",
        bf16=torch.cuda.is_available(),
        **{"gradient_checkpointing": False, **settings},
    )
    data = load("bundled/preference", split="train[:8]").select_columns(["prompt", "chosen", "rejected"])
    return prepare(trainer_class(model, args=config, train_dataset=data, **(given or {})))


def rows_of(lengths, seed):
    """Pairs of random tokens of these lengths [n, 3], and their number of unique tokens."""
    generator = np.random.default_rng(seed)
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    rows = [
        {name: generator.integers(*TOKENS, size).tolist() for name, size in zip(names, row, strict=True)}
        for row in lengths
    ]
    return rows, int(lengths.sum())


def batches_of(theirs, ours, draw):
    """Batches by round, through the collator of each trainer."""

    def batches(number):
        rows, tokens = rows_of(draw(number), number)
        return theirs.data_collator(rows), ours.data_collator(rows), tokens

    return batches


def drawn(name, args):
    """Lengths of the pairs of a round, from the distribution of a data set."""
    return lambda number: DATASETS[name].draw(args.pairs, np.random.default_rng(1000 + number), args.scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--shared_prefix", default="auto", choices=["auto", "mask", "grouped", "off"])
    parser.add_argument("--pairs", type=int, default=8, help="pairs of a step")
    parser.add_argument("--scale", type=float, default=0.25, help="all lengths are multiplied by this")
    parser.add_argument("--vocabulary", type=int, default=4096, help="of the model; small: hardly any LM head")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="3 rounds of each of 4 pairs, lengths scaled by 1/8")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/speed/results/pairs.json"))
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.scale, args.pairs = 3, 0.125, 4

    table = {}
    with tempfile.TemporaryDirectory() as folder:
        model = small_model(Path(folder), args.vocabulary)
        theirs = build(TRLDPOTrainer, TRLDPOConfig, model, args.pairs)
        ours = build(DPOTrainer, DPOConfig, model, args.pairs, shared_prefix=args.shared_prefix)
        for name in args.datasets:
            table[name] = compare(theirs, ours, batches_of(theirs, ours, drawn(name, args)), args.rounds)
            write(
                table,
                {name: getattr(args, name) for name in ("shared_prefix", "pairs", "scale", "vocabulary")},
                args.out,
            )


if __name__ == "__main__":
    main()
