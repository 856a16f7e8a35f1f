"""How figures and texts are written in both reports."""


def table_head(names: list[str]) -> list[str]:
    return [row(names), "|" + "---|" * len(names)]


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def escape(text: str) -> str:
    """Text that stays one cell of one row."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def interval(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def points(share: float) -> str:
    """A difference in percentage points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")
