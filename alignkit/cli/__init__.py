"""The command line: `alignkit COMMAND ...`.

This module only knows the names of the commands and one line about each; a command's own module is imported when it is
called, and heavy libraries inside its `run`, so that `alignkit --help` answers at once.

A command module has `add_arguments(parser)` and `run(args, extra) -> int`. `extra` holds the flags its parser did not
know; only a module with `ACCEPTS_EXTRA = True` (its flags are the fields of a config class) is given any. One with
`OWN_HELP = True` answers `--help` itself.
"""

import argparse
import importlib
import os
import sys


COMMANDS = {
    "methods": "list the methods, or show one: paper, defaults, data it needs, the metric to watch",
    "config": "copy a ready-to-run recipe",
    "check": "look at a configuration and its data before any weight is loaded",
    "rewards": "list the reward functions that a configuration can name",
    "train": "train with a method",
    "loop": "iterate: generate, judge, pair, train",
    "front": "train one policy per weight of two objectives and draw their front",
    "label": "add the scores, margins or win rates of a judge to a data set",
    "best-of-n": "pick the best of n responses with reward models",
    "eval": "evaluate a model or an adapter on a suite",
    "export": "make a Hub-ready folder of a checkpoint, merge it, push it",
    "doctor": "compare this installation with the tested one",
    "demo": "the whole line on the bundled model: check, train, evaluate, export, report",
}


def build_parser(commands: list[str]) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of `commands` filled in and the others named only."""
    from alignkit import __version__

    parser = argparse.ArgumentParser(
        prog="alignkit",
        description="Preference alignment on TRL: published methods, exact resume, one evaluation harness.",
        epilog="alignkit COMMAND --help tells more.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"alignkit {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help_text in COMMANDS.items():
        command = load_command(name) if name in commands else None
        subparser = subparsers.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            allow_abbrev=False,
            add_help=not getattr(command, "OWN_HELP", False),
        )
        if command is not None:
            command.add_arguments(subparser)
    return parser


def load_command(name: str):
    """Import the module of one command."""
    return importlib.import_module(f"alignkit.cli.{name.replace('-', '_')}")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 bad input (said in one sentence), 130 interrupted."""
    from alignkit.errors import InputError

    argv = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser([argument for argument in argv[:1] if argument in COMMANDS])
    try:
        args, extra = parser.parse_known_args(argv)
        command = load_command(args.command)
        if extra and not getattr(command, "ACCEPTS_EXTRA", False):
            parser.error(f"unrecognized arguments: {' '.join(extra)}")
        return command.run(args, extra)
    except InputError as error:
        print(f"alignkit: error: {error}", file=sys.stderr)
        return 2
    except SystemExit as stop:  # argparse: --help and usage errors
        return stop.code if isinstance(stop.code, int) else 2
    except BrokenPipeError:  # the reader of our output (`| head`) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("alignkit: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
