"""`alignkit train METHOD`: the pre-flight check, then the training, through `accelerate launch` where it is needed."""

import argparse
import sys

from alignkit import catalog
from alignkit.config import NOT_GIVEN, config_fields, nearest
from alignkit.config.run import split_flags
from alignkit.errors import InputError


ACCEPTS_EXTRA = True
OWN_HELP = True

EPILOG = """\
Every field of the method's config is a YAML key and a flag: `alignkit train METHOD --help` lists them.
Flags of `accelerate launch` (--num_processes, --config_file, --num_machines, ...) are passed on to it.
  alignkit train madpo --config madpo.yaml --beta 0.2 --num_processes 2
  alignkit train madpo --config madpo.yaml --resume_from_checkpoint true
"""


class _MethodHelp(argparse.Action):
    """`-h` after a method lists the method's fields; alone it is the ordinary help."""

    def __call__(self, parser, namespace, values, option_string=None):
        parser.print_help()
        if namespace.method in catalog.METHODS:
            print("\n" + fields_help(catalog.get(namespace.method)))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("-h", "--help", action=_MethodHelp, nargs=0, help="show this help, and the fields of a method")
    parser.add_argument("method", metavar="METHOD", help=f"one of: {', '.join(catalog.METHODS)}")
    parser.add_argument("--config", metavar="FILE", help="YAML file of field: value (`alignkit config copy METHOD`)")
    parser.add_argument("--skip_check", action="store_true", help="do not run the pre-flight check first")


def fields_help(method: catalog.Method) -> str:
    """The fields of a method as text, its own first, with defaults and help."""
    import textwrap

    lines = [f"Fields of {method.key}:"]
    for field in config_fields(method).values():
        default = "" if field.default is NOT_GIVEN else f" = {field.default!r}"
        lines.append(f"  --{field.name} ({field.annotation}{default})")
        lines.extend(textwrap.wrap(field.help, 110, initial_indent="      ", subsequent_indent="      "))
    return "\n".join(lines)


def run(args: argparse.Namespace, extra: list[str]) -> int:
    method = catalog.get(args.method)
    if not method.trainer.endswith("Trainer"):
        raise InputError(f"{method.key} trains in stages, not with one trainer; use `alignkit loop {method.key}`.")
    overrides, launch_flags = split_launch_flags(extra, method)
    command = [method.key, *(["--config", args.config] if args.config else []), *overrides]
    if not args.skip_check:
        from alignkit.cli.check import preflight

        code = preflight(method.key, args.config, overrides, processes_of(launch_flags))
        if code:
            return code
    if launch_flags or several_devices():
        import subprocess

        launcher = [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            *several(launch_flags),
            "-m",
            "alignkit.cli.training",
        ]
        return subprocess.call([*launcher, *command])

    from alignkit.cli.training import main

    return main(command)


def split_launch_flags(extra: list[str], method: catalog.Method) -> tuple[list[str], list[str]]:
    """Part the unparsed flags into the method's fields and those of `accelerate launch`; refuse the others."""
    known = config_fields(method)
    fields: list[str] = []
    launch: list[str] = []
    launch_options: set[str] | None = None
    for name, values in split_flags(extra):
        is_field = name in known or (name.startswith("no_") and name[3:] in known)
        if not is_field:
            launch_options = launch_options or accelerate_options()
            if name not in launch_options:
                raise InputError(
                    f"there is no flag `--{name}` for {method.key}, nor for `accelerate launch`; "
                    f"{nearest(name, [*known, *launch_options])}"
                )
        (fields if is_field else launch).extend([f"--{name}", *values])
    return fields, launch


def accelerate_options() -> set[str]:
    """Names of the flags of `accelerate launch`."""
    from accelerate.commands.launch import launch_command_parser

    actions = launch_command_parser()._actions
    return {
        option[2:].replace("-", "_") for action in actions for option in action.option_strings if option[:2] == "--"
    }


def processes_of(launch_flags: list[str]) -> int | None:
    """How many processes the launch flags ask for, if they say so."""
    flags = dict(split_flags(launch_flags))
    return int(flags["num_processes"][0]) if flags.get("num_processes") else None


def several(launch_flags: list[str]) -> list[str]:
    """The launch flags, made to start as many processes as they ask for on a machine without GPUs too.

    There accelerate starts a single one whatever `--num_processes` says (with `--cpu` too), unless `--multi_gpu` is given;
    the processes then find each other (gloo) only where the environment says that they use the CPU.
    """
    import os

    import torch

    names = {name for name, _ in split_flags(launch_flags)}
    if (processes_of(launch_flags) or 1) < 2 or torch.cuda.is_available() or names & {"config_file", "multi_gpu"}:
        return launch_flags
    os.environ["ACCELERATE_USE_CPU"] = "true"
    kept = [f for name, values in split_flags(launch_flags) if name != "cpu" for f in (f"--{name}", *values)]
    return ["--multi_gpu", *kept]


def several_devices() -> bool:
    """Whether more than one GPU is visible, so that one process would leave some idle."""
    import torch

    return torch.cuda.device_count() > 1
