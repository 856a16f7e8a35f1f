"""`alignkit doctor`: compare this installation with the tested one."""

import argparse
import json


HELP = "compare this installation with the tested one"

_MARKS = {"ok": "[green]ok[/]", "info": "[blue]info[/]", "warning": "[yellow]warning[/]", "error": "[red]ERROR[/]"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace, extra: list[str]) -> int:
    """Print the findings; return 0, or 1 if something required is missing or broken."""
    from alignkit.doctor import is_healthy, run_checks

    findings = run_checks()
    healthy = is_healthy(findings)
    if args.json:
        print(json.dumps({"healthy": healthy, "findings": [finding.as_json() for finding in findings]}, indent=2))
        return 0 if healthy else 1

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        remedy = f"\n[dim]→ {escape(finding.remedy)}[/]" if finding.remedy else ""
        table.add_row(_MARKS[finding.status], escape(finding.name), escape(finding.message) + remedy)
    console = Console()
    console.print(table)
    warnings = sum(finding.status == "warning" for finding in findings)
    if healthy:
        console.print(f"\nalignkit works here{f', with {warnings} warning(s)' if warnings else ''}.")
    else:
        console.print("\nalignkit will not work here until the errors above are mended.")
    return 0 if healthy else 1
