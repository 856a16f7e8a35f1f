"""`alignkit methods`: the catalog, one entry of it with its defaults, or the parts of the online methods."""

import argparse
from collections.abc import Iterable

from alignkit import catalog
from alignkit.catalog.metrics import ONLINE_METRICS
from alignkit.config import NOT_GIVEN
from alignkit.config.fields import FieldInfo, class_attribute, class_fields, class_sources
from alignkit.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["list", "show", "parts"], default="list", help="default: list")
    parser.add_argument("key", nargs="?", help="the method to show, or the slot whose parts are listed")


def run(args: argparse.Namespace, extra: list[str]) -> int:
    from rich.console import Console

    console = Console()
    if args.action == "list" and args.key is None:
        console.print(methods_table())
        console.print("`alignkit methods show KEY` tells more; `alignkit config copy KEY` makes a recipe to run.")
    elif args.action == "parts":
        show_parts(console, args.key)
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


def show_parts(console, slot: str | None) -> None:
    """The parts of the online methods, all or those of one slot, and their settings."""
    from rich.table import Table

    from alignkit.parts.listing import part_infos
    from alignkit.parts.table import PARTS

    if slot is not None and slot not in PARTS:
        raise InputError(f"there is no slot {slot!r}; the slots are {', '.join(PARTS)}.")
    parts = [part for part in part_infos() if slot in (None, part.slot)]
    table = Table("slot", "part", "what it does", title="Parts")
    settings = Table("slot", "part", "setting", "default", "meaning", title="Their settings")
    for part in parts:
        table.add_row(part.slot, part.name, plain(part.summary))
        for field in part.settings:
            settings.add_row(part.slot, part.name, *map(plain, (field.name, default_text(field), field.help)))
    console.print(table)
    if settings.row_count:
        console.print(settings)
    console.print("In a YAML of the method `online`: `SLOT: PART`, or `SLOT: {name: PART, SETTING: value}`.")


def show(console, method: catalog.Method) -> None:
    """What a method is, its paper, the data it needs, its defaults and the number to watch."""
    from rich.table import Table

    console.print(f"[bold]{method.key}[/bold]: {method.title} ({method.family})")
    console.print(method.summary)
    console.print(f"\nPaper:   {method.paper_title}, https://arxiv.org/abs/{method.arxiv}")
    console.print(f"Data:    columns {', '.join(method.columns)}")
    for slot, part in (class_attribute(method.config, "preset") or {}).items():
        console.print(f"Part:    {slot} {part} (`alignkit methods parts {slot}`)")
    console.print(f"Watch:   {method.metric}")
    console.print(f"Status:  {method.status}")
    console.print(f"Classes: {method.trainer.split(':')[1]}, {method.config.split(':')[1]} (from alignkit)\n")
    if method.metrics:
        console.print(metrics_table("What it logs", method.metrics.items()))
    if method.family == "online":
        console.print(metrics_table("What every online method logs", ONLINE_METRICS.items()))
    table = Table("field", "default", "meaning", title="Its own fields")
    for field in own_fields(method):
        table.add_row(*map(plain, (field.name, default_text(field), field.help)))
    console.print(table)
    verb = "train" if method.trainer.endswith("Trainer") else "loop"
    console.print(f"All fields: `alignkit {verb} {method.key} --help`")


def metrics_table(title: str, metrics: Iterable[tuple[str, str]]):
    """Metrics with their sentences as a rich table."""
    from rich.table import Table

    table = Table("metric", "what it is, and what it should do", title=title)
    for name, sentence in metrics:
        table.add_row(plain(name), plain(sentence))
    return table


def default_text(field: FieldInfo) -> str:
    return "required" if field.default is NOT_GIVEN else str(field.default)


def plain(text: str) -> str:
    """Text of which nothing is markup."""
    from rich.markup import escape

    return escape(text)


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
