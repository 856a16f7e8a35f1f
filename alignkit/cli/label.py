"""`alignkit label`: add reward margins, scores or win rates to a preference data set."""

import argparse
import json
import sys


HELP = "add reward margins, scores or win rates to a preference data set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "label",
        choices=("margins", "scores", "win_rates"),
        help="margins: reward_margin (reward of chosen minus rejected); scores: chosen_score, rejected_score; win_rates: "
        "chosen_win_rate, rejected_win_rate",
    )
    parser.add_argument("--dataset", required=True, help="bundled/..., a file, a folder or a Hub name")
    parser.add_argument("--split", default="train", help="split of the data set (default: train)")
    parser.add_argument(
        "--model", required=True, help="reward model (folder, adapter or Hub name), or a judge file (.yaml, .json)"
    )
    parser.add_argument("--out", required=True, help="FILE.jsonl, FILE.parquet or a FOLDER")
    parser.add_argument("--tau", type=float, help="also report the share of margins at or below -TAU (MADPO)")
    parser.add_argument("--limit", type=int, help="label only the first LIMIT rows")
    parser.add_argument("--overwrite", action="store_true", help="replace columns of the same names in the data set")
    parser.add_argument("--drop_failed", action="store_true", help="leave out rows that get no finite score")
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """How local models are loaded; shared with `best-of-n`."""
    parser.add_argument("--batch_size", type=int, help="sequences scored at once (default: 32)")
    parser.add_argument("--load_in_4bit", action="store_true", help="quantise the model to 4 bits (NF4)")
    parser.add_argument("--max_length", type=int, help="longest exchange in tokens (default: the model's own limit)")
    parser.add_argument("--base_model", help="base that replaces the one an adapter names")
    parser.add_argument("--dtype", help="auto, float32, bfloat16 or float16 (default: auto)")
    parser.add_argument("--device", help="auto, cpu, cuda:0, ... (default: auto)")


def model_options(args: argparse.Namespace) -> dict[str, object]:
    """The arguments of `add_model_arguments` that were given, as options of `load_judge`."""
    return {
        "batch_size": args.batch_size,
        "load_in_4bit": args.load_in_4bit or None,
        "max_length": args.max_length,
        "base_model": args.base_model,
        "dtype": args.dtype,
        "device": args.device,
    }


def take_rows(dataset, limit: int | None):
    """The first `limit` rows of a loaded data set."""
    from alignkit.errors import InputError

    if limit is None:
        return dataset
    if limit < 1:
        raise InputError(f"--limit is {limit}: it must be at least 1")
    return dataset.select(range(min(limit, len(dataset))))


def run(args: argparse.Namespace, extra: list[str]) -> int:
    from alignkit.data import load
    from alignkit.data.bundled import resolve_model
    from alignkit.data.labelling import check_output, label, write_dataset
    from alignkit.judges import load_judge
    from alignkit.judges.records import write_atomically

    out = check_output(args.out)
    judge = load_judge(args.model, model_options(args), resolve_model, cache=f"{out}.replies.cache.jsonl")
    dataset = take_rows(load(args.dataset, args.split), args.limit)
    print_costs([judge], pairs_work(judge, dataset))
    labelled = label(
        dataset,
        judge,
        args.label,
        cache=f"{out}.label.cache.jsonl",
        tau=args.tau,
        overwrite=args.overwrite,
        drop_failed=args.drop_failed,
        source=args.dataset,
    )
    write_dataset(labelled.dataset, out)
    report = {"dataset": args.dataset, "split": args.split, "out": str(out), **labelled.report}
    write_atomically(f"{out}.label.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print_report(report)
    return 0


def print_costs(judges: list, work) -> None:
    """What some work may cost, for each endpoint that has to be paid; shared with `best-of-n`."""
    from alignkit.judges.estimate import estimate

    for judge in judges:
        for line in estimate(judge, [work]):
            print(f"cost: {line} What is in the caches is not asked for again.", file=sys.stderr)


def pairs_work(judge, dataset):
    """What labelling all pairs of a data set asks for."""
    from alignkit.judges.estimate import Work, mean_tokens

    texts = {name: mean_tokens(texts_of(dataset, name)) for name in ("prompt", "chosen", "rejected")}
    response_tokens = (texts["chosen"] + texts["rejected"]) / 2
    return Work(len(dataset), 2 if judge.has_scores else None, texts["prompt"], response_tokens)


def texts_of(dataset, column: str) -> list:
    """The texts or messages of a column; none where there is no such column or a row holds something else."""
    values = dataset[column] if column in dataset.column_names else []
    return [value for value in values if isinstance(value, (str, list))]


def print_report(report: dict) -> None:
    """What was labelled, by whom, and how the labels are spread."""
    run = report["this_run"]
    print(
        f"{report['labelled']} of {report['rows']} rows labelled with {', '.join(report['columns'])}: {report['out']}"
    )
    print(f"judge: {describe_judge(report['judge'])}, fingerprint {report['fingerprint']}")
    print(f"rows from the cache: {run['from_cache']}; calls: {run['calls']}; left out: {report['dropped']}")
    if run["failures"]:
        print("failures: " + ", ".join(f"{kind} {count}" for kind, count in run["failures"].items()))
    if run["cost"] or run["completion_tokens"]:
        unknown = f" ({run['unpriced_calls']} calls without a known price)" if run["unpriced_calls"] else ""
        print(f"tokens: {run['prompt_tokens']} in, {run['completion_tokens']} out; cost: {run['cost']:.4f}{unknown}")
    bias = run["position_bias"]
    if bias:
        print(
            f"position bias: {bias['bias']:+.3f} (above 0: towards the answer shown first); verdicts that change with "
            f"the order: {bias['inconsistent_share']:.1%} of {bias['pairs']} pairs"
        )
    if "abs_margin_quantiles" in report:
        print("|margin| quantiles: " + spread(report["abs_margin_quantiles"]))
        print(f"margin below 0 (the judge disagrees with the label): {report['share_margin_negative']:.1%}")
    if "chosen_win_rate_quantiles" in report:
        print("win rate of chosen, quantiles: " + spread(report["chosen_win_rate_quantiles"]))
    if "tau" in report:
        print(f"margin at or below -{report['tau']:g}: {report['share_margin_at_most_minus_tau']:.1%}")


def describe_judge(identity: dict) -> str:
    """The kind of a judge and its model, in a few words."""
    model = identity.get("model") or identity.get("sampling", {}).get("model")
    return f"{identity['judge']} {model}" if model else identity["judge"]


def spread(quantiles: dict[str, float]) -> str:
    return "  ".join(f"{float(level):.0%} {value:.3g}" for level, value in quantiles.items())
