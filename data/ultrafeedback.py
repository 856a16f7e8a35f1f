"""UltraFeedback (openbmb/UltraFeedback): four responses to each prompt, rated by GPT-4 on four aspects.

    python data/ultrafeedback.py --out outputs/data/ultrafeedback.jsonl                    # pairs with reward_margin
    python data/ultrafeedback.py --objectives helpfulness honesty --out uf-modpo.jsonl     # pairs for MODPO
    python data/ultrafeedback.py --prompts --out prompts.jsonl                             # prompts for the loops

A pair is the response with the highest score against the lowest (`--rejected random`: against any other). The score is
the mean of the four aspects; with `--objectives` it is the first aspect named, and the others become margin rewards.
Ratings are 1 to 5; a response without a rating of every aspect ("N/A") is left out.
"""

import argparse
import random
from collections.abc import Iterable

from building import Row, Skip, assistant, build_parser, pair, run_builder, user


ASPECTS = ("instruction_following", "truthfulness", "honesty", "helpfulness")


def ratings(completion: Row) -> dict[str, float] | None:
    """Rating of each aspect, or None where one is missing."""
    found = {}
    for aspect in ASPECTS:
        value = completion["annotations"][aspect]["Rating"]
        try:
            found[aspect] = float(value)
        except (TypeError, ValueError):
            return None
    return found


def convert(row: Row, args: argparse.Namespace) -> Iterable[Row]:
    if row["source"] in args.exclude_source:
        raise Skip("an excluded source")
    if not row["instruction"].strip():
        raise Skip("an empty prompt")
    prompt = user(row["instruction"])
    if args.prompts:
        return [{"prompt": prompt}]
    rated = [(item["response"], ratings(item)) for item in row["completions"]]
    rated = [(response, rating) for response, rating in rated if rating is not None and response.strip()]

    def score(rating: dict[str, float]) -> float:
        return rating[args.objectives[0]] if args.objectives else sum(rating.values()) / len(rating)

    if len(rated) < 2:
        raise Skip("fewer than two rated responses")
    ordered = sorted(rated, key=lambda item: -score(item[1]))
    chosen, best = ordered[0]
    lower = [item for item in ordered if score(item[1]) < score(best)]
    if not lower:
        raise Skip("all responses tie")
    # The same draw for the same prompt, whatever is read before it.
    rejected, worst = random.Random(row["instruction"]).choice(lower) if args.rejected == "random" else lower[-1]
    result = pair(prompt, assistant(chosen), assistant(rejected))
    result |= {"chosen_reward": score(best), "rejected_reward": score(worst)}
    result["reward_margin"] = result["chosen_reward"] - result["rejected_reward"]
    for side, rating in (("chosen", best), ("rejected", worst)):
        result |= {f"{side}_{aspect}": rating[aspect] for aspect in ASPECTS}
        if len(args.objectives) > 1:
            result[f"{side}_margin_rewards"] = [rating[aspect] for aspect in args.objectives[1:]]
    return [result]


def main(argv: list[str] | None = None) -> int:
    parser = build_parser(__doc__, "openbmb/UltraFeedback")
    parser.add_argument("--prompts", action="store_true", help="write the prompts alone")
    parser.add_argument(
        "--objectives", nargs="+", choices=ASPECTS, default=[], help="aspects, that of the pairs first"
    )
    parser.add_argument("--rejected", choices=("worst", "random"), default="worst", help="which response loses")
    parser.add_argument("--exclude-source", nargs="*", default=[], help="leave out these sources, e.g. truthful_qa")
    known, _ = parser.parse_known_args(argv)
    margins = ("chosen_margin_rewards", "rejected_margin_rewards") if len(known.objectives) > 1 else ()
    columns = ("prompt",) if known.prompts else ("prompt", "chosen", "rejected", "reward_margin", *margins)
    return run_builder(parser, convert, columns, argv)


if __name__ == "__main__":
    raise SystemExit(main())
