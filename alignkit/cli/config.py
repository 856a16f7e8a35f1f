"""`alignkit config`: list the shipped recipes, print one or copy one."""

import argparse
import shutil
from pathlib import Path

from alignkit.config import recipe_path, recipes
from alignkit.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="name every recipe")
    show = actions.add_parser("show", help="print a recipe")
    show.add_argument("key", help="e.g. madpo (tiny, ready to run) or madpo-full (full-size QLoRA)")
    copy = actions.add_parser("copy", help="copy a recipe to edit and run")
    copy.add_argument("key", help="e.g. madpo (tiny, ready to run) or madpo-full (full-size QLoRA)")
    copy.add_argument("file", nargs="?", help="where to (default: KEY.yaml)")
    copy.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(args: argparse.Namespace, extra: list[str]) -> int:
    if args.action == "list":
        for name, path in recipes().items():
            first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            print(f"{name:<16} {first}")
        return 0
    source = recipe_path(args.key)
    if args.action == "show":
        print(source.read_text(encoding="utf-8"), end="")
        return 0
    target = Path(args.file or f"{args.key}.yaml")
    if target.is_dir():
        target = target / f"{args.key}.yaml"
    if target.exists() and not args.force:
        raise InputError(f"{target}: exists already; name another file or pass --force.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    method = args.key.removesuffix("-full")
    print(
        f"Wrote {target}\nNext: alignkit check {method} --config {target}\n      alignkit train {method} --config {target}"
    )
    return 0
