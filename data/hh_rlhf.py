"""HH-RLHF (Anthropic/hh-rlhf): two dialogues that differ in the assistant's last turn, as conversational pairs.

    python data/hh_rlhf.py --subset helpful-base --out outputs/data/hh-helpful.jsonl
    python data/hh_rlhf.py --subset harmless-base --split test --out outputs/data/hh-harmless-test.jsonl

The public rows are texts of turns "Human: ..." and "Assistant: ...", set apart by blank lines. A pair whose dialogues
differ before the last turn, or whose turns do not alternate, is left out and counted.
"""

import argparse
import re
from collections.abc import Iterable

from building import Message, Row, Skip, build_parser, pair, run_builder


SUBSETS = ("helpful-base", "helpful-rejection-sampled", "helpful-online", "harmless-base")
TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}


def parse(dialogue: str) -> list[Message]:
    """The turns of a dialogue as messages; `Skip` unless they alternate from the human to the assistant."""
    before, *parts = TURN.split(dialogue)
    messages = [
        {"role": ROLES[name], "content": text.strip()} for name, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    roles = [message["role"] for message in messages]
    if before.strip() or not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise Skip("turns that do not alternate between Human and Assistant")
    if any(not message["content"] for message in messages[:-1]):
        raise Skip("an empty turn")
    return messages


def convert(row: Row, args: argparse.Namespace) -> Iterable[Row]:
    chosen, rejected = parse(row["chosen"]), parse(row["rejected"])
    if chosen[:-1] != rejected[:-1]:
        raise Skip("dialogues that differ before the last turn")
    return [pair(chosen[:-1], chosen[-1:], rejected[-1:])]


def main(argv: list[str] | None = None) -> int:
    parser = build_parser(__doc__, "Anthropic/hh-rlhf")
    parser.add_argument("--subset", choices=SUBSETS, help="one folder of the data set (default: all)")
    return run_builder(parser, convert, ("prompt", "chosen", "rejected"), argv, data_dir="subset")


if __name__ == "__main__":
    raise SystemExit(main())
