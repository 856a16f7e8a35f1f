"""MT-Bench (arXiv 2306.05685): 80 questions of two turns, every answer rated from 1 to 10 by a judge, by itself.

Questions, reference answers and the judge's prompts are FastChat's own files, read at run time. `score_judgments(files)` turns
stored judgements into figures without judging anything again; the suite `mt_bench` answers and judges first.
"""

import importlib
from typing import TYPE_CHECKING


_EXPORTS = {"parse_rating": "ratings", "score_judgments": "stored"}

__all__ = ["parse_rating", "score_judgments"]

if TYPE_CHECKING:
    from .ratings import parse_rating
    from .stored import score_judgments


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module 'alignkit.eval.mt_bench' has no attribute {name!r}")
