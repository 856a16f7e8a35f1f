"""How figures and texts are written in both reports."""

from typing import Any


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


def paid(spent: dict[str, float]) -> str:
    """What the calls of an endpoint cost, or their tokens where no price is known."""
    if spent["unpriced"]:
        return f"{spent['prompt_tokens']:,.0f} + {spent['completion_tokens']:,.0f} tokens, price unknown"
    return f"{spent['cost']:.2f} ({spent['calls']:.0f} calls)"


def answers_cost(model: Any) -> str:
    """What a model's own answers cost, for the end of a line; empty where it is no endpoint."""
    return f"; its answers cost {paid(model.generating)}" if model.generating.get("calls") else ""
