"""`alignkit check KEY --config FILE`: look at a run before any weight is loaded."""

import argparse
import functools
import sys
from typing import Any

from ..errors import InputError


HELP = "look at a configuration and its data before any weight is loaded"
ACCEPTS_EXTRA = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; any other flag is a field of the method's config."""
    parser.add_argument("method", help="key of the method (`alignkit methods` lists them)")
    parser.add_argument("--config", metavar="FILE", help="YAML file of field: value")
    parser.add_argument("--world-size", type=int, metavar="N", help="plan for N processes instead of this one")
    parser.add_argument(
        "--device-memory", type=float, metavar="GIB", help="plan for a device of so many GiB instead of this machine's"
    )
    parser.add_argument(
        "--sharding",
        choices=("none", "zero1", "zero2", "zero3", "fsdp"),
        help="plan for states split over the processes like this (default: as the launcher or the config says)",
    )
    parser.epilog = "Any field of the method's config is a flag too: --beta 0.2 --max_length 512."


def run(args: argparse.Namespace, extra: list[str]) -> int:
    """Print the report; return 0, or 2 when something will fail."""
    for name, value in (("--world-size", args.world_size), ("--device-memory", args.device_memory)):
        if value is not None and not value > 0:
            raise InputError(f"`{name}` is {value}; expected a number above 0.")
    from .check_stages import staged_kind

    limits = (args.world_size, args.device_memory, args.sharding)
    kind = staged_kind(args.method, args.config, extra)
    preflight_of = preflight if kind is None else functools.partial(preflight_staged, kind)
    code = preflight_of(args.method, args.config, extra, *limits)
    if code == 0:
        print(f"\nReady: alignkit {kind or 'train'} {args.method}")
    return code


def preflight(
    method_key: str,
    config_path: str | None,
    overrides: list[str],
    world_size: int | None = None,
    device_memory: float | None = None,
    sharding: Any = None,
) -> int:
    """Run and print the pre-flight of a configured run; return 0, or 2 when something will fail."""
    from rich.console import Console

    from ..config import load_run, plan_for
    from ..preflight import run_preflight

    with plan_for(world_size):
        run = load_run(method_key, config_path, overrides)
    if run.evaluation.eval_suite:
        from ..eval.callback import parse_suites

        parse_suites(run.evaluation.eval_suite)  # refuses what cannot be measured
    report = run_preflight(run, world_size, device_memory, sharding)
    report.render(Console())
    return exit_code(report)


def preflight_staged(kind: Any, method_key: str, config_path: str | None, overrides: list[str], *limits: Any) -> int:
    """Run and print the pre-flight of a loop or a front; return 0, or 2 when something will fail."""
    from rich.console import Console

    from .check_stages import Limits, check_staged

    report, plan = check_staged(kind, method_key, config_path, overrides, Limits(*limits))
    report.render(Console())
    if plan:
        print(f"\nPlan of the {kind}")
    for line in plan:
        print(f"  {line}")
    return exit_code(report)


def exit_code(report: Any) -> int:
    """Print the errors; 2 if there are any."""
    for error in report.errors:
        print(f"alignkit: error: {error}", file=sys.stderr)
    return 2 if report.errors else 0
