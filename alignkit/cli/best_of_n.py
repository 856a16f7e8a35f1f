"""`alignkit best-of-n`: pick the best of several responses by reward, and say what drawing n of them gains."""

import argparse
import json

from .label import add_model_arguments, describe_judge, model_options, print_costs, take_rows


HELP = "pick the best of several responses by reward; expected score and KL for each n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        nargs="+",
        help="reward model (folder, adapter, Hub name or judge file), or the folder of an ensemble; several are an "
        "ensemble, loaded one at a time",
    )
    parser.add_argument("--responses", required=True, help="file of rows {prompt, responses: [...]}")
    parser.add_argument("--n", default="1,2,4,8", help="numbers of samples, separated by commas (default: 1,2,4,8)")
    parser.add_argument("--gold", help="column with a list of gold scores, one per response")
    parser.add_argument(
        "--aggregate",
        default="mean",
        choices=("mean", "wco", "uwo"),
        help="how an ensemble's scores are combined: mean, wco (worst case), uwo (mean - coef * variance)",
    )
    parser.add_argument(
        "--coef", type=float, default=0.5, help="weight of the variance in uwo (default: 0.5, the paper's)"
    )
    parser.add_argument(
        "--normalize",
        action="store_true",
        help="first bring each model's scores to mean 0 and deviation 1 on these rows",
    )
    parser.add_argument(
        "--out",
        required=True,
        help="FILE.jsonl for the picked rows (best of the largest n); FILE.jsonl.best_of_n.json",
    )
    parser.add_argument("--limit", type=int, help="use only the first LIMIT rows")
    parser.add_argument(
        "--drop_failed", action="store_true", help="leave out prompts with a response that gets no score"
    )
    add_model_arguments(parser)


def run(args: argparse.Namespace, extra: list[str]) -> int:
    from alignkit.data import load
    from alignkit.data.bundled import resolve_model
    from alignkit.data.labelling import check_output
    from alignkit.errors import InputError
    from alignkit.judges import load_judge
    from alignkit.judges.best_of_n import best_of_n_rows
    from alignkit.judges.members import member_folders
    from alignkit.judges.records import write_atomically

    out = check_output(args.out)
    if out.suffix != ".jsonl":
        raise InputError(f"--out is {args.out}: give a .jsonl file")
    replies = f"{out}.replies.cache.jsonl"
    members = [member for name in args.model for member in member_folders(name)]
    judges = [load_judge(name, model_options(args), resolve_model, cache=replies) for name in members]
    rows = list(take_rows(load(args.responses, "train"), args.limit))
    print_costs(judges, responses_work(rows))
    result = best_of_n_rows(
        rows,
        judges,
        parse_numbers(args.n),
        gold=args.gold,
        objective=args.aggregate,
        coef=args.coef,
        normalize=args.normalize,
        drop_failed=args.drop_failed,
        cache=f"{out}.scores.cache.jsonl",
        source=args.responses,
    )
    write_atomically(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in result.picked))
    report = {"responses": args.responses, "out": str(out), **result.report}
    write_atomically(f"{out}.best_of_n.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print_report(report)
    return 0


def responses_work(rows: list[dict]):
    """What scoring all responses asks for."""
    from alignkit.judges.estimate import Work, mean_tokens

    groups = [row["responses"] for row in rows if isinstance(row.get("responses"), list)]
    responses = [response for group in groups for response in group if isinstance(response, (str, list))]
    prompt_tokens = mean_tokens(row["prompt"] for row in rows if isinstance(row.get("prompt"), (str, list)))
    per_prompt = -(-len(responses) // max(1, len(groups)))
    return Work(len(groups), per_prompt, prompt_tokens, mean_tokens(responses))


def parse_numbers(text: str) -> list[int]:
    """The numbers of `--n`, ascending."""
    from alignkit.errors import InputError

    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise InputError(f"--n is {text!r}: give whole numbers separated by commas, such as 1,2,4,8") from None
    if numbers[0] < 1:
        raise InputError(f"--n is {text!r}: each number must be at least 1")
    return numbers


def print_report(report: dict) -> None:
    """Who scored, and the table: one line per n."""
    for member in report["members"]:
        print(f"judge: {describe_judge(member['judge'])}, fingerprint {member['fingerprint']}")
    print(
        f"{report['used']} of {report['rows']} prompts; best of the first {report['picked_from']} responses: {report['out']}"
    )
    names = [name for name in ("proxy", "gold") if name in report["curve"][0]]
    print(f"{'n':>6} {'KL':>8} " + " ".join(f"{name:>20}" for name in names))
    for row in report["curve"]:
        cells = [
            f"{row[name]:10.4f} " + ("" if (error := row[f"{name}_standard_error"]) is None else f"± {error:.4f}")
            for name in names
        ]
        print(f"{row['n']:>6} {row['kl']:8.4f} " + " ".join(f"{cell:>20}" for cell in cells))
