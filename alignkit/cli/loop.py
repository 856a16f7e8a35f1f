"""`alignkit loop METHOD`: sample, judge, pair, train, and repeat; the same command again goes on where it stopped."""

import argparse
import importlib
import logging
import sys

from alignkit.cli.train import fields_help
from alignkit.trainers.iterative import LOOPS, RUNNERS, loop_method, loop_runner


HELP = "iterate: generate, judge, pair, train"
ACCEPTS_EXTRA = True
OWN_HELP = True

EPILOG = """\
Every field of the loop's config is a YAML key and a flag: `alignkit loop METHOD --help` lists them.
The same command again goes on where the last one stopped; changed settings are refused.
  alignkit loop sppo --config sppo-loop.yaml --output_dir outputs/sppo-loop
"""


class _MethodHelp(argparse.Action):
    """`-h` after a method lists the fields of its loop; alone it is the ordinary help."""

    def __call__(self, parser, namespace, values, option_string=None):
        parser.print_help()
        if namespace.method in (*LOOPS, *RUNNERS):
            print("\n" + fields_help(loop_method(namespace.method)))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("-h", "--help", action=_MethodHelp, nargs=0, help="show this help, and the fields of a method")
    parser.add_argument("method", metavar="METHOD", help=f"one of: {', '.join([*LOOPS, *RUNNERS])}")
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file of field: value (`alignkit config copy METHOD-loop`)"
    )


def run(args: argparse.Namespace, extra: list[str]) -> int:
    loop_method(args.method)

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    print(importlib.import_module(loop_runner(args.method)).run_loop(args.method, args.config, extra))
    return 0
