"""PKU-SafeRLHF (PKU-Alignment/PKU-SafeRLHF, also -10K): pairs labelled twice, for helpfulness and for safety.

    python data/pku_saferlhf.py --objective helpfulness --out outputs/data/safe-rlhf-helpful.jsonl
    python data/pku_saferlhf.py --objective safety --out outputs/data/safe-rlhf-safe.jsonl

The pairs follow the label of `--objective`; the other objective stands in the margin columns of MODPO. The reward of
safety is minus the severity level (0 is safe, 3 severe), or minus 1 for an unsafe response where the set has no levels;
that of helpfulness is 1 for the more helpful response and 0 for the other. Both are coarse: MODPO's paper takes the
implicit reward of a DPO model of the other objective (`margin_models`), for which the other file here is the data.
"""

import argparse
from collections.abc import Iterable

from building import Row, assistant, build_parser, pair, run_builder, user


LABELS = {"helpfulness": "better_response_id", "safety": "safer_response_id"}


def safety(row: Row, index: int) -> float:
    """Minus the severity level of a response, or minus 1 for an unsafe one."""
    level = row.get(f"response_{index}_severity_level")
    return -float(not row[f"is_response_{index}_safe"]) if level is None else -float(level)


def convert(row: Row, args: argparse.Namespace) -> Iterable[Row]:
    chosen = row[LABELS[args.objective]]
    rejected = 1 - chosen
    result = pair(user(row["prompt"]), assistant(row[f"response_{chosen}"]), assistant(row[f"response_{rejected}"]))
    (other,) = set(LABELS) - {args.objective}
    for side, index in (("chosen", chosen), ("rejected", rejected)):
        rewards = {"helpfulness": float(row[LABELS["helpfulness"]] == index), "safety": safety(row, index)}
        result |= {f"{side}_{name}": value for name, value in rewards.items()}
        result[f"{side}_margin_rewards"] = [rewards[other]]
    return [result]


def main(argv: list[str] | None = None) -> int:
    parser = build_parser(__doc__, "PKU-Alignment/PKU-SafeRLHF")
    parser.add_argument(
        "--objective", choices=tuple(LABELS), default="helpfulness", help="whose label makes the pairs"
    )
    columns = ("prompt", "chosen", "rejected", "chosen_margin_rewards", "rejected_margin_rewards")
    return run_builder(parser, convert, columns, argv)


if __name__ == "__main__":
    raise SystemExit(main())
