"""A model's place on the official AlpacaEval 2 leaderboard, which comes with the alpaca-eval package."""

from typing import Any

from .package_files import leaderboard_rows


NEIGHBOURS = 4


def place_on_leaderboard(label: str, value: float, column: str = "length_controlled_winrate") -> list[dict[str, Any]]:
    """The rows around `value` in the leaderboard sorted by `column`, highest first: {"place", "name", "value", "own"}.

    Models whose row lacks the column are left out. `label` is put where its figure belongs, and marked.
    """
    rows: list[dict[str, Any]] = [
        {"name": row[""], "value": float(row[column]), "own": False} for row in leaderboard_rows() if row.get(column)
    ]
    rows.append({"name": label, "value": value, "own": True})
    rows.sort(key=lambda row: (-row["value"], row["own"]))
    for place, row in enumerate(rows, start=1):
        row["place"] = place
    own = next(place for place, row in enumerate(rows) if row["own"])
    return rows[max(0, own - NEIGHBOURS) : own + NEIGHBOURS + 1]
