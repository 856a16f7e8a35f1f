"""`alignkit front METHOD`: train a policy per weight, measure each on every objective, draw the front."""

import argparse
import logging
import sys

from alignkit.cli.train import fields_help
from alignkit.trainers.front import FRONTS, front_method


HELP = "train one policy per weight of two objectives and draw their front"
ACCEPTS_EXTRA = True
OWN_HELP = True

EPILOG = """\
Every field of the front's config is a YAML key and a flag: `alignkit front METHOD --help` lists them.
The same command again goes on where the last one stopped; more weights are added to the finished ones.
  alignkit front modpo --config modpo-front.yaml --weights 0,0.25,0.5,0.75,1
"""


class _MethodHelp(argparse.Action):
    """`-h` after a method lists the fields of its front; alone it is the ordinary help."""

    def __call__(self, parser, namespace, values, option_string=None):
        parser.print_help()
        if namespace.method in FRONTS:
            print("\n" + fields_help(front_method(namespace.method)))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("-h", "--help", action=_MethodHelp, nargs=0, help="show this help, and the fields of a method")
    parser.add_argument("method", metavar="METHOD", help=f"one of: {', '.join(FRONTS)}")
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file of field: value (`alignkit config copy modpo-front`)"
    )
    parser.add_argument(
        "--weights", metavar="W,W,...", help="weights of the first objective, each in [0, 1]; same as --front_weights"
    )


def run(args: argparse.Namespace, extra: list[str]) -> int:
    method = front_method(args.method)

    from alignkit.config import load_run
    from alignkit.trainers.iterative.launch import refuse_a_launcher

    refuse_a_launcher("let it train on one device")
    from alignkit.trainers.front.runner import FrontRunner

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    weights = ["--front_weights", *args.weights.split(",")] if args.weights else []
    runner = FrontRunner(load_run(method, args.config, [*extra, *weights]))
    front = runner.run()
    for line in table(front):
        print(line)
    print(f"\nHypervolume {front['hypervolume']:.6g}, base model {front['hypervolume_of_the_base']:.6g}")
    print(f"Written: {runner.folder}/front.json, front.csv, front.png")
    return 0


def table(front: dict) -> list[str]:
    """The points as lines of text."""
    names = front["objectives"]
    lines = [f"{'point':10}" + "".join(f"{name:>22}" for name in names) + "  on the front"]
    for point in front["points"]:
        scores = [point["scores"][name] for name in names]
        cells = "".join(f"{score['mean']:>12.4g} ± {score['standard_error'] or 0:<7.2g}" for score in scores)
        lines.append(f"{point['name']:10}{cells}  {'yes' if point['non_dominated'] else ''}")
    return lines
