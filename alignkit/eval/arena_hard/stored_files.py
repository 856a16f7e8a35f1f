"""Reading judged games, battles and style counts from files: ours and the official ones, `.json`, `.jsonl` or `.jsonl.gz`.

games     {model, question_id | uid, games: [game 0, game 1][, judge][, category][, baseline]}, where a game is a
          label ("A>B"), null, or an object with the label under `score` (the official judgment files)
battles   {question_id, model_a, model_b, winner: "model_a" | "model_b" | "tie" | "tie (bothbad)"}
styles    {model, question_id | uid, token_len, header_count, list_count, bold_count}, the counts as numbers or by
          kind, in the row or under `metadata` or `conv_metadata` (the official answer files)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from ..items import read_rows
from .battles import Battles, Game, number_names
from .style import Style
from .verdicts import known_label
from .versions import Version


WINNERS = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5}
COUNTS = ("token_len", "header_count", "list_count", "bold_count")


@dataclass(frozen=True)
class StoredGame:
    """A game with what its file says of where it belongs."""

    game: Game
    category: str | None
    baseline: str | None


def read_games(paths: Sequence[Path], version: Version) -> list[StoredGame]:
    """The games of all files. Raises `InputError` naming file and row for one that is malformed or occurs twice."""
    found: list[StoredGame] = []
    seen: dict[tuple[str, str, str], str] = {}
    for path in paths:
        for index, row in enumerate(read_rows(path)):
            where = f"{path}, row {index} (from 0)"
            game = Game(
                text_field(row, ("model",), where),
                text_field(row, ("question_id", "uid"), where),
                labels(row.get("games"), version, where),
                str(row.get("judge") or ""),
            )
            key = (game.judge, game.model, game.question)
            if key in seen:
                raise InputError(
                    f"{where}: {game.model} was judged on question {game.question} before, at {seen[key]}; one row per "
                    "model, question and judge is allowed"
                )
            seen[key] = where
            found.append(StoredGame(game, row.get("category"), row.get("baseline")))
    if not found:
        raise InputError(f"{paths[0]} holds no rows")
    return found


def labels(games: Any, version: Version, where: str) -> tuple[str | None, str | None]:
    """The two games of a row as verdicts; what is no verdict is null."""
    if not isinstance(games, list) or len(games) != 2:
        count = len(games) if isinstance(games, list) else "none"
        raise InputError(f"{where}: games has {count} entries; it must list two: baseline first, then candidate first")
    verdicts = []
    for place, game in enumerate(games):
        label = game.get("score") if isinstance(game, dict) else game
        if label is not None and not isinstance(label, str):
            raise InputError(f"{where}: game {place} is {game!r:.60}; it must be a label such as 'A>B', or null")
        verdicts.append(None if label is None else known_label(label.strip(), version).verdict)
    return verdicts[0], verdicts[1]


def read_battles(path: Path, baseline: str) -> Battles:
    """Battles, each against the baseline; strong verdicts are expected three times, as the official files have them."""
    rows = []
    for index, row in enumerate(read_rows(path)):
        where = f"{path}, row {index} (from 0)"
        question = text_field(row, ("question_id", "uid"), where)
        pair = [text_field(row, (name,), where) for name in ("model_a", "model_b")]
        if row.get("winner") not in WINNERS:
            raise InputError(f"{where}: winner is {row.get('winner')!r}; it must be one of {', '.join(WINNERS)}")
        if pair.count(baseline) != 1:
            raise InputError(
                f"{where}: {pair[0]} meets {pair[1]}; one of the two must be the baseline {baseline} (--baseline)"
            )
        share = WINNERS[row["winner"]]
        candidate_first = pair[1] == baseline
        rows.append((pair[0] if candidate_first else pair[1], question, share if candidate_first else 1 - share, 1))
    if not rows:
        raise InputError(f"{path} holds no battles")
    return number_names(rows, baseline)


def read_styles(paths: Sequence[Path]) -> dict[tuple[str, str], Style]:
    """Style counts by model and question."""
    styles = {}
    for path in paths:
        for index, row in enumerate(read_rows(path)):
            where = f"{path}, row {index} (from 0)"
            key = text_field(row, ("model", "model_id"), where), text_field(row, ("question_id", "uid"), where)
            styles[key] = style_of(row, where)
    return styles


def style_of(row: dict[str, Any], where: str) -> Style:
    """The counts of one row."""
    counts = {**row, **(row.get("conv_metadata") or {}), **(row.get("metadata") or {})}
    values = []
    for name in COUNTS:
        value = counts.get(name)
        total = sum(value.values()) if isinstance(value, dict) else value
        if not isinstance(total, int | float) or isinstance(total, bool) or total < 0:
            raise InputError(f"{where}: {name} is {value!r:.60}; it must be a count, or counts by kind")
        values.append(int(total))
    return Style(*values)


def text_field(row: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    """The first of the fields that the row has, as text."""
    for name in names:
        if isinstance(value := row.get(name), str | int) and value != "":
            return str(value)
    raise InputError(f"{where}: {' or '.join(names)} is missing; the row has {', '.join(sorted(row))}")
