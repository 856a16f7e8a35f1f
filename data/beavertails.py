"""BeaverTails (PKU-Alignment/BeaverTails): single responses marked safe or not, as safety pairs.

    python data/beavertails.py --out outputs/data/beavertails.jsonl
    python data/beavertails.py --split 330k_train --pairs-per-prompt 2 --out outputs/data/beavertails.jsonl

A pair is a safe response against an unsafe one to the same prompt; prompts without both give none. All rows are read
before the first pair is made.
"""

import argparse
from collections.abc import Iterable, Iterator

from building import Row, Skip, assistant, build_parser, pair, run_builder, user


def by_prompt(rows: Iterator[Row], args: argparse.Namespace) -> Iterable[Row]:
    """{prompt, safe, unsafe}: the different responses to each prompt, in the order of the public rows."""
    prompts: dict[str, dict[bool, dict[str, None]]] = {}
    for row in rows:
        groups = prompts.setdefault(row["prompt"], {True: {}, False: {}})
        groups[bool(row["is_safe"])][row["response"]] = None
    return [
        {"prompt": prompt, "safe": list(groups[True]), "unsafe": list(groups[False])}
        for prompt, groups in prompts.items()
    ]


def convert(row: Row, args: argparse.Namespace) -> Iterable[Row]:
    # Marked safe once and unsafe once: no one knows.
    disputed = set(row["safe"]) & set(row["unsafe"])
    safe, unsafe = ([text for text in row[name] if text not in disputed] for name in ("safe", "unsafe"))
    couples = list(zip(safe, unsafe, strict=False))[: args.pairs_per_prompt]
    if not couples:
        raise Skip("a prompt without a safe and an unsafe response")
    labels = {"chosen_safety": 1.0, "rejected_safety": 0.0}
    return [pair(user(row["prompt"]), assistant(good), assistant(bad)) | labels for good, bad in couples]


def main(argv: list[str] | None = None) -> int:
    parser = build_parser(__doc__, "PKU-Alignment/BeaverTails", split="30k_train")
    parser.add_argument("--pairs-per-prompt", type=int, default=1, metavar="N", help="at most so many (default 1)")
    return run_builder(parser, convert, ("prompt", "chosen", "rejected"), argv, whole=by_prompt)


if __name__ == "__main__":
    raise SystemExit(main())
