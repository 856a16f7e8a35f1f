"""`alignkit eval score arena_hard_v01|arena_hard_v2`: figures from stored judgements; nothing is judged.

alignkit eval score arena_hard_v01 --battles B.jsonl.gz --out DIR
alignkit eval score arena_hard_v2 --verdicts V.jsonl.gz [MORE ...] [--style S.jsonl.gz --style-control]
                                  --baseline NAME [--optimizer official] --out DIR
"""

import argparse
from typing import Any

from .resampling import INTERVALS
from .score import score as score_files
from .style import CONTROLS
from .table import OPTIMIZERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `score`."""
    parser.add_argument(
        "--verdicts", nargs="+", default=[], metavar="FILE", help="judged games, ours or official files"
    )
    parser.add_argument("--battles", metavar="FILE", help="battles instead of verdicts (v0.1)")
    parser.add_argument("--baseline", metavar="NAME", help="the model that all others met (default: the official one)")
    parser.add_argument(
        "--style", nargs="+", default=[], metavar="FILE", help="style counts, or official answer files"
    )
    parser.add_argument(
        "--style-control",
        "--style_control",
        nargs="?",
        const="style",
        choices=tuple(CONTROLS),
        help="score at equal style (needs --style); `length` or `markdown` controls for that part alone",
    )
    parser.add_argument("--category", metavar="NAME", help="score one category only")
    parser.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default="converged",
        help="official: the fit that the benchmark's own code stops at, and its intervals (default: converged)",
    )
    parser.add_argument(
        "--intervals",
        choices=INTERVALS,
        help="resample questions (cluster) or battles (official, too narrow); default: cluster, or as --optimizer",
    )
    parser.add_argument("--num_resamples", type=int, metavar="N", help="bootstrap resamples behind an interval")
    parser.add_argument(
        "--confidence", type=float, metavar="SHARE", help="coverage of the intervals (default: v0.1 0.95, v2.0 0.9)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the resampling")


def score(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The figures by model."""
    return score_files(
        name,
        verdicts=args.verdicts,
        battles=args.battles,
        style=args.style,
        style_control=args.style_control,
        baseline=args.baseline,
        category=args.category,
        optimizer=args.optimizer,
        intervals=args.intervals,
        num_resamples=args.num_resamples,
        confidence=args.confidence,
        seed=args.seed,
    )
