"""Both reports of a folder: `report.html`, one file that loads nothing from elsewhere and is legible at 380 px and in dark
mode, and `report.md`. They are made of one section per suite."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..records import write_atomically
from ..results import report_paths
from .formatting import answers_cost, escape, interval, percent, points, row, table_head


if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True)
class Section:
    """One suite in the reports; `headlines` is its chief figure by model label, for the table over all suites."""

    name: str
    title: str
    html: str
    markdown: str
    headlines: dict[str, str]


def write_reports(folder: Path, sections: list[Section]) -> None:
    """Write `report.md` and `report.html` of a folder."""
    paths = report_paths(folder)
    labels = list(dict.fromkeys(label for section in sections for label in section.headlines))
    title = sections[0].title if len(sections) == 1 else f"Evaluation on {len(sections)} suites"
    page = template("page.html.j2").render(title=title, sections=sections, labels=labels)
    write_atomically(paths["html"], page)
    lines: list[str] = []
    if len(sections) > 1:
        lines = [f"# {title}", "", *table_head(["suite", *(escape(label) for label in labels)])]
        lines += [row([escape(own.title), *(own.headlines.get(label, "–") for label in labels)]) for own in sections]
        lines.append("")
    write_atomically(paths["markdown"], "\n".join([*lines, *(own.markdown for own in sections)]))


def template(name: str) -> jinja2.Template:
    """One of the templates beside this file. All text from models and data is escaped."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"percent": percent, "points": points}
    environment.globals |= {"interval": interval, "answers_cost": answers_cost}
    return environment.from_string((files(__package__) / name).read_text(encoding="utf-8"))


def settings_rows(settings: dict[str, Any], versions: dict[str, str]) -> list[tuple[str, Any]]:
    """Settings and versions as rows of a table."""
    rows: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {own}" for key, own in value.items())
        if value not in (None, ""):
            rows.append((name.replace("_", " "), value))
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    return rows
