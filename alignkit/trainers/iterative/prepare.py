"""Everything of a run that can be wrong before anything is computed; nothing is written here."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...config import Run
from ...data.bundled import resolve_model
from ...errors import InputError
from ...generation import fingerprint_source, resolve_source
from ...judges import Judge
from .context import is_own
from .extrapolate import check_run_extrapolates
from .judging import build_judge
from .rule import IterationRule
from .stages.generate import gold_text
from .stages.prompts import draw_order, load_prompts


Rows = list[dict[str, Any]]

# Replies of a judge behind an endpoint, kept in the run's folder unless the judge names a cache of its own.
REPLIES = "replies.cache.jsonl"


@dataclass(frozen=True)
class Prepared:
    """The rule, the judge and the prompts of a run.

    Attributes:
        rows: of the data set.
        eval_rows: the evaluation prompts; None if they are held out of `rows`.
        order: the permutation of `rows` that a new run begins with.
    """

    rule: IterationRule
    judge: Judge
    rows: Rows
    eval_rows: Rows | None
    order: dict[str, list[int]] = field(repr=False)

    @property
    def num_eval(self) -> int:
        return len(self.order["eval"] if self.eval_rows is None else self.eval_rows)


def prepare(run: Run, rule: IterationRule | None = None, judge: Judge | None = None) -> Prepared:
    """Look at the data set, the model and the judge of a run.

    Raises `InputError` for whatever would stop the run later: a bad configuration, data set, model or judge.
    """
    check_model(run)
    return prepare_prompts(run, rule, judge)


def prepare_prompts(run: Run, rule: IterationRule | None = None, judge: Judge | None = None) -> Prepared:
    """`prepare` without the model."""
    rule = rule or load_rule(run)
    rows, eval_rows = load_prompts(run)
    if rule.gold_column:
        for place, row in enumerate(rows):
            gold_text({**row, "prompt_id": place}, rule.gold_column)
    cache = str(Path(run.training.output_dir) / REPLIES)
    judge = judge or build_judge(run.training, [*rows, *(eval_rows or [])], cache)
    if rule.needs_scores() and not judge.has_scores:
        raise InputError(
            f"`judge` is {run.training.judge!r}, which compares two responses and gives no scores; set `rank_by` to "
            "win_rates, with thresholds in [0, 1]."
        )
    if rule.momentum:
        check_run_extrapolates(run, resolve_source(run.model.model_name_or_path, resolve=resolve_model))
    return Prepared(rule, judge, rows, eval_rows, draw_order(len(rows), run.training, hold_out=eval_rows is None))


def load_rule(run: Run) -> IterationRule:
    """The rule of the run's method."""
    return importlib.import_module(f"{__package__}.rules.{run.method.key}").Rule(run.training)


def check_model(run: Run) -> None:
    """Raise `InputError` for a model that is not there, or that the method cannot move."""
    name = run.model.model_name_or_path
    if not name:
        raise InputError("`model_name_or_path` is missing: name a model, an adapter folder or `bundled/tiny-math`.")
    if is_own(name):
        raise InputError(f"`model_name_or_path` is {name!r}; a path that begins so is one of the loop's own folders.")
    fingerprint_source(resolve_source(name, resolve=resolve_model))
