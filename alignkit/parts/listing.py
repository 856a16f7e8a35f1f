"""What the parts are, read from their source: names, one line each, settings. No part is imported, and no torch."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..config.fields import FieldInfo, class_attribute, class_docstring, class_fields
from .table import PARTS


@dataclass(frozen=True)
class PartInfo:
    """A part: the slot it fills, its name, what it does in one line, and its settings with defaults and help."""

    slot: str
    name: str
    summary: str
    settings: tuple[FieldInfo, ...]


def part_info(slot: str, name: str) -> PartInfo:
    """The entry of a part in the table; `KeyError` if there is none."""
    path = PARTS[slot][name]
    summary = class_docstring(path).split("\n")[0].removeprefix(f"`{name}`: ")
    config = class_attribute(path, "Config")
    settings = tuple(class_fields(config).values()) if isinstance(config, str) else ()
    return PartInfo(slot, name, summary, settings)


def part_infos() -> Iterator[PartInfo]:
    """All parts, slot by slot."""
    for slot, names in PARTS.items():
        for name in names:
            yield part_info(slot, name)
