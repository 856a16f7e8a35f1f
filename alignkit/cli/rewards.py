"""`alignkit rewards`: the reward functions that can be named in a configuration."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Reward functions by name, for `reward_funcs` of the online methods, and constraints of cgpo."


def run(args: argparse.Namespace, extra: list[str]) -> int:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from alignkit.rewards import CONSTRAINTS, REWARDS

    console = Console()
    for title, what, named in (
        ("Reward functions", "what it scores", REWARDS),
        ("Constraints (method cgpo)", "satisfied where", CONSTRAINTS),
    ):
        table = Table("name", what, title=title)
        for name, item in named.items():
            table.add_row(escape(name), escape(item.help))
        console.print(table)
    console.print(
        "Besides: `judge:KIND[:MODEL]`, a reward model by Hub name or folder, `package.module:function`, "
        "`path/to/file.py:function`.\nParameters and a weight: {name: cosine_length, weight: 0.5, ...}."
    )
    return 0
