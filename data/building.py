"""What the builders share: their arguments, reading the public rows, counting what is left out, writing and pushing.

A builder is a function from one public row to zero or more of our rows; it raises `Skip` with the reason for a row that
cannot be used. `run_builder` does the rest.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from alignkit.errors import InputError


logger = logging.getLogger("data")

Row = dict[str, Any]
Message = dict[str, str]


class Skip(Exception):
    """A public row that gives nothing; the text is the reason, counted and reported."""


def build_parser(description: str | None, dataset: str, split: str = "train") -> argparse.ArgumentParser:
    """The arguments of every builder."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dataset", default=dataset, help=f"name on the Hub, local file or folder (default {dataset})"
    )
    parser.add_argument("--split", default=split, help=f"split to read (default {split})")
    parser.add_argument("--revision", help="revision on the Hub")
    parser.add_argument("--out", type=Path, help=".jsonl or .parquet file, or a folder, to write")
    parser.add_argument("--push", metavar="OWNER/NAME", help="push the result to the Hub, as a private data set")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N rows of the result")
    parser.add_argument("--streaming", action="store_true", help="read rows as they are needed, without a download")
    return parser


def run_builder(
    parser: argparse.ArgumentParser,
    convert: Callable[[Row, argparse.Namespace], Iterable[Row]],
    columns: tuple[str, ...],
    argv: list[str] | None = None,
    *,
    data_dir: str | None = None,
    config_name: str | None = None,
    whole: Callable[[Iterator[Row], argparse.Namespace], Iterable[Row]] | None = None,
) -> int:
    """Parse, read, convert, check, write; return the exit code (2 for bad input, said in one sentence).

    Args:
        parser: of `build_parser`, with the builder's own arguments.
        convert: one public row -> our rows.
        columns: the columns by which the result is checked (`alignkit.data.column_specs`).
        data_dir: name of the argument that holds a folder of the Hub data set.
        config_name: configuration of the Hub data set.
        whole: for a set whose rows must be seen together: all public rows -> rows for `convert`.
    """
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        check_arguments(args)
        folder = getattr(args, data_dir) if data_dir else None
        rows = read_rows(args.dataset, args.split, args.revision, folder, config_name, args.streaming)
        skipped: Counter[str] = Counter()
        source = whole(rows, args) if whole else rows
        built = list(islice(converted(source, convert, args, skipped), args.limit))
        publish(built, columns, args)
    except InputError as error:
        return refuse(parser, error)
    reasons = "".join(f"; {count} left out: {reason}" for reason, count in skipped.most_common())
    logger.info("%d rows%s", len(built), reasons)
    return 0


def refuse(parser: argparse.ArgumentParser, error: InputError) -> int:
    """Say what is wrong; return the exit code for it."""
    print(f"{parser.prog}: error: {error}", file=sys.stderr)
    return 2


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse a call that would write nothing, or to a place that cannot be written, before anything is read."""
    from alignkit.data.labelling import check_output

    if args.out is None and args.push is None:
        raise InputError("say where the result goes: --out FILE, --push OWNER/NAME, or both.")
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit is {args.limit}; give at least 1.")
    if args.out is not None:
        check_output(args.out)


def read_rows(
    name: str, split: str, revision: str | None, data_dir: str | None, config_name: str | None, streaming: bool
) -> Iterator[Row]:
    """The public rows: of a local file or folder through our own reader, else of the Hub."""
    if Path(name).exists():
        from alignkit.data import load

        splits = load(name, streaming=streaming)
        if split not in splits:
            raise InputError(f"{name} has no split {split!r}; it has {', '.join(splits)}.")
        return iter(splits[split])
    from datasets import load_dataset

    try:
        rows = load_dataset(name, config_name, data_dir=data_dir, split=split, revision=revision, streaming=streaming)
    except Exception as error:  # not found, gated, offline, a wrong split: many types, one meaning
        raise InputError(f"{name} cannot be read from the Hub: {' '.join(str(error).split())}") from error
    return iter(rows)


def converted(
    rows: Iterable[Row],
    convert: Callable[[Row, argparse.Namespace], Iterable[Row]],
    args: argparse.Namespace,
    skipped: Counter[str],
) -> Iterator[Row]:
    """Our rows, in the order of the public ones; reasons for rows that give none are counted in `skipped`."""
    from tqdm import tqdm

    for index, row in enumerate(tqdm(rows, desc="rows", unit="row", disable=None)):
        try:
            yield from convert(row, args)
        except Skip as reason:
            skipped[str(reason)] += 1
        except KeyError as error:
            raise InputError(
                f"row {index} (counted from 0) of {args.dataset} has no field {error}; its fields are "
                f"{', '.join(sorted(row))}."
            ) from None


def publish(rows: list[Row], columns: tuple[str, ...], args: argparse.Namespace) -> None:
    """Check the rows, write them whole or not at all, push them."""
    from datasets import Dataset

    from alignkit.data import column_specs, validate_rows
    from alignkit.data.labelling import write_dataset

    if not rows:
        raise InputError(f"{args.dataset}, split {args.split}: no row could be used.")
    dataset = Dataset.from_list(rows)
    validate_rows(dataset, column_specs(columns), source="the result")
    if args.out is not None:
        write_dataset(dataset, args.out)
        logger.info("Written: %s", args.out)
    if args.push is not None:
        dataset.push_to_hub(args.push, private=True)
        logger.info("Pushed: %s", args.push)


def user(text: str) -> list[Message]:
    """A prompt of one user message."""
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[Message]:
    """A response of one message."""
    return [{"role": "assistant", "content": text}]


def pair(prompt: Any, chosen: Any, rejected: Any) -> Row:
    """The three columns of a preference pair; `Skip` for an empty response or two equal ones."""
    for response in (chosen, rejected):
        text = response if isinstance(response, str) else response[-1]["content"]
        if not text.strip():
            raise Skip("an empty response")
    if chosen == rejected:
        raise Skip("two equal responses")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
