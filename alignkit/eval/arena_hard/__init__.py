"""Arena-Hard v0.1 and v2.0 (arXiv 2406.11939): two games against a baseline per prompt, five verdicts, official scores.

`score(suite, ...)` turns stored verdicts or battles into figures without judging anything again; the suites
`arena_hard_v01` and `arena_hard_v2` judge first. Questions, baseline answers and judge prompts come from the
benchmark's own files at run time.
"""

import importlib
from typing import TYPE_CHECKING


_EXPORTS = {
    "VERSIONS": "versions",
    "Battles": "battles",
    "Game": "battles",
    "battles_of": "battles",
    "count_style": "style",
    "parse_verdict": "verdicts",
    "score": "score",
    "score_battles": "table",
}

__all__ = ["VERSIONS", "Battles", "Game", "battles_of", "count_style", "parse_verdict", "score", "score_battles"]

if TYPE_CHECKING:
    from .battles import Battles, Game, battles_of
    from .score import score
    from .style import count_style
    from .table import score_battles
    from .verdicts import parse_verdict
    from .versions import VERSIONS


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module 'alignkit.eval.arena_hard' has no attribute {name!r}")
