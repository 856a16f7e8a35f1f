"""What `shared_prefix: auto` costs where there is nothing to share: beside `shared_prefix: off`, in turn.

    OMP_NUM_THREADS=1 python benchmarks/speed/auto_overhead.py

Prompts of two tokens and completions that are all of the same length: no prompt to share, no padding to drop. A speed-up of
0.99 is an overhead of 1 %.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from groups import Rollouts, interleave
from groups import build as build_online
from pairs import batches_of
from pairs import build as build_pairs
from side_by_side import compare, small_model, write

from alignkit import DPOConfig, DPOTrainer, OnlineConfig, OnlineTrainer


PROMPT = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16, help="completions of a step")
    parser.add_argument("--completion", type=int, default=128, help="tokens of a completion")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/speed/results/auto_overhead.json"))
    args = parser.parse_args()
    args.beta, args.prompts = 0.0, 1
    settings = {"rows": args.rows, "completion": args.completion}

    with tempfile.TemporaryDirectory() as folder:
        model = small_model(Path(folder))
        modes = ("off", "auto")
        pairs = [build_pairs(DPOTrainer, DPOConfig, model, args.rows // 2, shared_prefix=mode) for mode in modes]
        lengths = np.array([[PROMPT, args.completion, args.completion]] * (args.rows // 2))
        table = {"pairs": compare(*pairs, batches_of(*pairs, lambda number: lengths), args.rounds)}
        write(table, settings, args.out)
        shape = (PROMPT, args.completion, args.rows)
        rollouts = Rollouts(PROMPT, args.completion, shortest=args.completion)
        groups = [
            build_online(OnlineTrainer, OnlineConfig, model, rollouts, shape, args, shared_prefix=mode)
            for mode in modes
        ]
        table["groups"] = interleave(*groups, rollouts, args, shape)
        write(table, settings, args.out)


if __name__ == "__main__":
    main()
