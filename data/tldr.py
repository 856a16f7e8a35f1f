"""TL;DR summaries of Reddit posts: openai/summarize_from_feedback (comparisons) or trl-lib/tldr-preference.

    python data/tldr.py --out outputs/data/tldr.jsonl
    python data/tldr.py --dataset trl-lib/tldr-preference --text --out outputs/data/tldr.jsonl

The prompt is the subreddit, the title and the post; `--text` leaves it and the summaries plain, for a base model.
OpenAI's set holds a loading script, which `datasets` no longer runs, so that its converted revision is read.
"""

import argparse
from collections.abc import Iterable

from building import Row, Skip, assistant, build_parser, pair, run_builder, user


CONVERTED = "refs/convert/parquet"


def post(info: Row) -> str:
    """The text to summarise; a news article where there is no post."""
    if not info.get("post"):
        if not info.get("article"):
            raise Skip("neither a post nor an article")
        return f"ARTICLE: {info['article'].strip()}\n\nTL;DR:"
    parts = {"SUBREDDIT: r/": info.get("subreddit"), "TITLE: ": info.get("title"), "POST: ": info["post"]}
    return "\n\n".join(f"{label}{text.strip()}" for label, text in parts.items() if text) + "\n\nTL;DR:"


def convert(row: Row, args: argparse.Namespace) -> Iterable[Row]:
    extra = {}
    if "summaries" in row:
        prompt = post(row["info"])
        chosen, rejected = (row["summaries"][index]["text"] for index in (row["choice"], 1 - row["choice"]))
        confidence = (row.get("extra") or {}).get("confidence")
        if confidence is not None:
            extra = {"confidence": float(confidence)}
    else:
        prompt, chosen, rejected = row["prompt"], row["chosen"], row["rejected"]
    if args.text:
        return [pair(prompt, f" {chosen.strip()}", f" {rejected.strip()}") | extra]
    return [pair(user(prompt), assistant(chosen.strip()), assistant(rejected.strip())) | extra]


def main(argv: list[str] | None = None) -> int:
    parser = build_parser(__doc__, "openai/summarize_from_feedback")
    parser.add_argument("--text", action="store_true", help="plain text instead of messages")
    known, _ = parser.parse_known_args(argv)
    is_openai = known.dataset == parser.get_default("dataset")
    if is_openai:
        parser.set_defaults(revision=CONVERTED)
    config = "comparisons" if is_openai else None
    return run_builder(parser, convert, ("prompt", "chosen", "rejected"), argv, config_name=config)


if __name__ == "__main__":
    raise SystemExit(main())
