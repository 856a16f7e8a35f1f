"""`alignkit demo`: the whole line on the bundled model, offline, on a CPU: check, train, evaluate, export, report."""

import argparse
import json
import os
from pathlib import Path


METHOD = "madpo"
SUITE = "tiny_math"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="outputs/demo", metavar="DIR", help="where everything goes (default: %(default)s)"
    )


def run(args: argparse.Namespace, extra: list[str]) -> int:
    # Nothing here needs the network; asking the Hub would only cost time-outs where there is none.
    os.environ["HF_HUB_OFFLINE"] = "1"

    from rich.console import Console

    from alignkit.cli.check import preflight
    from alignkit.config import load_run, recipe_path
    from alignkit.data.bundled import MODEL_NAME
    from alignkit.eval import evaluate
    from alignkit.hub import export_adapter
    from alignkit.trainers.launch import train

    console = Console()
    out = Path(args.out)
    adapter, evaluation, export = out / "adapter", out / "eval", out / "export"
    recipe = str(recipe_path(METHOD))
    overrides = ["--output_dir", str(adapter)]

    console.rule("1/4  check")
    code = preflight(METHOD, recipe, overrides, None)
    if code:
        return code
    console.rule(f"2/4  train {MODEL_NAME} with {METHOD} (QLoRA)")
    train(load_run(METHOD, recipe, overrides))
    console.rule(f"3/4  evaluate on {SUITE}, before and after")
    results = evaluate([str(adapter)], SUITE, evaluation, compare=MODEL_NAME)
    console.rule("4/4  export")
    exported = export_adapter(adapter, export, eval_results=evaluation / "results.json", force=True)

    accuracy = {model.adapter: model.accuracy for model in results.models}
    (difference,) = results.comparisons
    summary = {
        "accuracy_before": accuracy[False],
        "accuracy_after": accuracy[True],
        "difference_ci_low": difference.ci_low,
        "difference_ci_high": difference.ci_high,
        "adapter_dir": str(adapter),
        "export_dir": str(exported.path),
        "report": str(evaluation / "report.html"),
    }
    path = out / "summary.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)

    console.rule("done")
    console.print(
        f"Held-out accuracy: {summary['accuracy_before']:.1%} -> {summary['accuracy_after']:.1%} "
        f"(difference {difference.difference:+.1%}, 95 % interval {difference.ci_low:+.1%} to {difference.ci_high:+.1%})"
    )
    for name in ("adapter_dir", "export_dir", "report"):
        console.print(f"{name:<11} {summary[name]}", soft_wrap=True)
    console.print(f"{'summary':<11} {path}", soft_wrap=True)
    return 0
