"""`alignkit eval`: models to figures with intervals, resumable, and a report.

alignkit eval MODEL_OR_ADAPTER [MORE ...] --suite NAME --out DIR [--compare BASE]    the whole line
alignkit eval generate MODEL_OR_ADAPTER [MORE ...] --suite NAME --out DIR            one stage alone;
alignkit eval grade|score|report --out DIR                                           the later ones read the plan
alignkit eval suites                                                                 what there is
"""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.errors import InputError


if TYPE_CHECKING:
    from alignkit.eval.results import Results

HELP = "evaluate a model or an adapter on a suite"
# First words with a meaning of their own; a model folder of that name is written ./grade.
LATER_STAGES = ("grade", "score", "report")
VERBS = ("generate", *LATER_STAGES, "suites")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Positional models or a verb, and one flag per field of `EvalOptions`."""
    from alignkit.eval.options import EvalOptions

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (__doc__ or "").split("\n\n", 1)[1]
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="MODEL_OR_ADAPTER",
        help=f"model folder, adapter folder, Hub name or bundled/tiny-math; or first {', '.join(VERBS)}",
    )
    parser.add_argument("--suite", metavar="NAME", help="what to evaluate on (`alignkit eval suites` lists them)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the records and the report, one per suite")
    parser.add_argument("--compare", metavar="BASE", help="evaluate BASE too and compare the others with it, paired")
    for field in fields(EvalOptions):
        keywords: dict[str, Any] = dict(field.metadata)
        default = f" (default: {field.default})" if field.default is not None and field.default is not False else ""
        help_text = (keywords.pop("help") + default).replace("%", "%%")
        parser.add_argument(f"--{field.name}", default=field.default, help=help_text, **keywords)


def run(args: argparse.Namespace, extra: list[str]) -> int:
    """Run the whole line, one stage, or list the suites."""
    verb = args.targets[0] if args.targets[0] in VERBS else None
    models = args.targets[1:] if verb else args.targets
    if verb == "suites":
        print_suites()
        return 0
    if args.out is None:
        raise InputError("--out is missing: the folder that the records and the report go to")
    if verb in LATER_STAGES:
        if models or args.suite:
            raise InputError(f"`alignkit eval {verb}` reads models and suite from the plan in --out: give --out only")
        stages = [verb]
    else:
        plan(args, models)
        stages = ["generate", *([] if verb else LATER_STAGES)]
    results = run_stages(stages, args.out)
    if results is not None:
        print_results(results)
    return 0


def plan(args: argparse.Namespace, models: list[str]) -> None:
    """Check what was asked for and write the plan."""
    from alignkit.eval.options import EvalOptions
    from alignkit.eval.runner import plan_generations
    from alignkit.eval.suites import suite_names

    if args.suite is None:
        raise InputError(f"--suite is missing: there are {', '.join(suite_names())}")
    values = {field.name: getattr(args, field.name) for field in fields(EvalOptions)}
    values["chat_template_kwargs"] = parse_object(args.chat_template_kwargs, "chat_template_kwargs")
    plan_generations(models, args.suite, args.out, EvalOptions(**values), args.compare)


def run_stages(stages: list[str], folder: Path) -> "Results | None":
    """Run stages in order; the results of the last one that has any."""
    from alignkit.eval.runner import run_stage

    results = None
    for stage in stages:
        results = run_stage(stage, folder) or results
    return results


def parse_object(text: str | None, flag: str) -> dict[str, Any] | None:
    """The JSON object given to a flag."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"--{flag} is {text!r}, which is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"--{flag} is {text!r}: it must be a JSON object, such as '{{\"enable_thinking\": false}}'")
    return value


def print_suites() -> None:
    """A table of the suites."""
    from rich.console import Console
    from rich.table import Table

    from alignkit.eval.suites import load_suite, suite_names

    table = Table("suite", "what", "items", "samples", "protocol")
    for name in suite_names():
        suite = load_suite(name)
        table.add_row(name, suite.title, str(suite.size), str(suite.n_samples), suite.protocol)
    Console().print(table)


def print_results(results: "Results") -> None:
    """The figures as tables, warnings, and where the reports are."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(title=escape(results.title), title_justify="left")
    table.add_column("model", overflow="fold")
    for name in ("accuracy", "interval", "right", "cut off", "no answer", "timed out"):
        table.add_column(name, justify="right")
    for model in results.models:
        table.add_row(
            escape(model.label),
            f"{100 * model.accuracy:.1f} %",
            f"{100 * model.ci_low:.1f}-{100 * model.ci_high:.1f}",
            f"{model.n_correct}/{model.n_completions}",
            str(model.n_truncated),
            str(model.n_unparsable + model.n_too_complex),
            str(model.n_timeout + model.n_crash),
        )
    console.print(table)
    for comparison in results.comparisons:
        console.print(
            f"{results[comparison.model].label} against {results[comparison.baseline].label}: "
            f"{100 * comparison.difference:+.1f} points ({100 * comparison.ci_low:+.1f} to "
            f"{100 * comparison.ci_high:+.1f}); right only now {comparison.only_model_right}, right only before "
            f"{comparison.only_baseline_right}, of {comparison.n}",
            markup=False,
        )
    for path in results.paths.values():
        if path.exists():
            print(path)
