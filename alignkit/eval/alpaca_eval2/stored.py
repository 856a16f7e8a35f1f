"""`alignkit eval score alpaca_eval2`: figures from stored annotations; nothing is judged, no network is needed.

alignkit eval score alpaca_eval2 --annotations A.jsonl.gz --baseline REF.jsonl.gz [--gamed DF.csv] [--difficulty D.csv]
                                 --out DIR
"""

import argparse
from pathlib import Path
from typing import Any

from .formats import read_annotations, read_reference
from .scoring import score_rows
from .side_data import load_side_data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", required=True, metavar="FILE", help="judged rows, or one line per model")
    parser.add_argument("--baseline", required=True, metavar="FILE", help="the reference outputs of all instructions")
    parser.add_argument("--gamed", metavar="FILE", help="df_gamed.csv (default: the Hub's, or a reconstruction)")
    parser.add_argument("--difficulty", metavar="FILE", help="instruction_difficulty.csv (default: as for --gamed)")
    parser.add_argument(
        "--row_number_compat",
        action="store_true",
        help="take the difficulty by row number, as the official package does (differs where rows are missing)",
    )
    parser.add_argument(
        "--num_resamples", type=int, default=1000, metavar="N", help="bootstrap resamples (default: 1000; 0: none)"
    )


def score(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The figures: of the one model, or by model where the file names several (or is one line per model)."""
    reference = read_reference(Path(args.baseline))
    models, one_line_each = read_annotations(Path(args.annotations), reference)
    side = load_side_data({own.instruction: own.place for own in reference}, args.gamed, args.difficulty)
    scores = {
        model: {
            **(own := score_rows(rows, reference, side, args.num_resamples, 0.95, args.row_number_compat)).to_dict(),
            "n_null": len(rows) - own.win.n_total,
            "length_control_variant": side.variant,
            "sources": side.sources,
        }
        for model, rows in models.items()
    }
    if len(scores) == 1 and not one_line_each:
        ((model, only),) = scores.items()
        return only if model is None else {"model": model, **only}
    return {str(model): own for model, own in scores.items()}
