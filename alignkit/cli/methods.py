"""`alignkit methods`: the catalog, or one entry of it with its defaults."""

import argparse

from alignkit import catalog
from alignkit.config import NOT_GIVEN
from alignkit.config.fields import FieldInfo, class_fields, class_sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["list", "show"], default="list", help="default: list")
    parser.add_argument("key", nargs="?", help="the method to show")


def run(args: argparse.Namespace, extra: list[str]) -> int:
    from rich.console import Console

    console = Console()
    if args.action == "list" and args.key is None:
        console.print(methods_table())
        console.print("`alignkit methods show KEY` tells more; `alignkit config copy KEY` makes a recipe to run.")
    else:
        show(console, catalog.get(args.key or ""))
    return 0


def methods_table():
    """The catalog as a rich table."""
    from rich.table import Table

    table = Table("key", "method", "family", "paper", "status", title="Methods")
    for method in catalog.METHODS.values():
        table.add_row(method.key, method.title, method.family, f"arXiv {method.arxiv}", method.status)
    return table


def show(console, method: catalog.Method) -> None:
    """What a method is, its paper, the data it needs, its defaults and the number to watch."""
    from rich.markup import escape
    from rich.table import Table

    console.print(f"[bold]{method.key}[/bold]: {method.title} ({method.family})")
    console.print(method.summary)
    console.print(f"\nPaper:   {method.paper_title}, https://arxiv.org/abs/{method.arxiv}")
    console.print(f"Data:    columns {', '.join(method.columns)}")
    console.print(f"Watch:   {method.metric}")
    console.print(f"Status:  {method.status}")
    console.print(f"Classes: {method.trainer.split(':')[1]}, {method.config.split(':')[1]} (from alignkit)\n")
    if method.metrics:
        logged = Table("metric", "what it is, and what it should do", title="What it logs")
        for name, sentence in method.metrics.items():
            logged.add_row(escape(name), escape(sentence))
        console.print(logged)
    table = Table("field", "default", "meaning", title="Its own fields")
    for field in own_fields(method):
        default = "required" if field.default is NOT_GIVEN else str(field.default)
        table.add_row(escape(field.name), escape(default), escape(field.help))
    console.print(table)
    console.print(f"All fields: `alignkit train {method.key} --help`")


def own_fields(method: catalog.Method) -> list[FieldInfo]:
    """The fields that alignkit's config classes of a method add to TRL's, and `beta`."""
    own = [
        field
        for path in class_sources(method.config)
        if path.startswith("alignkit.")
        for field in class_fields(path).values()
        if field.owner == path.split(":")[1] or field.name == "beta"
    ]
    return list({field.name: field for field in own}.values())
