"""Stage "score" of a judged suite: the benchmark's figures, and what is common to all of them, into `results.json`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from ..costs import spent
from ..items import Item
from ..plan import Plan
from ..scoring import describe_settings, estimate, versions
from .benchmark import Figures, JudgedRun
from .results import JudgedComparison, JudgedModel, JudgedResults
from .spec import EndpointJudge
from .stage import judgment_log, plan_judge, read_judgments


def score_judged(plan: Plan, folder: Path) -> JudgedResults:
    """Compute every figure of the plan from the records, write `results.json` and the official files in `official/`."""
    judge = plan_judge(plan)
    runs = read_judgments(plan, folder)
    figures = plan.benchmark.score(runs)
    models = []
    for run, own in zip(runs, figures, strict=True):
        log = judgment_log(run.run, folder, judge)
        models.append(judged_model(plan, run, own, asdict(spent(log.records.values()))))
        plan.benchmark.export(run, judge.name, folder / "official" / run.run.fingerprint)
    comparisons = []
    if plan.baseline is not None:
        base = figures[plan.baseline]
        for place, run in enumerate(runs):
            if place != plan.baseline:
                comparison = paired(plan, run, runs[plan.baseline], figures[place], base)
                comparisons += [comparison] if comparison else []
    weighted = judge.weighted if isinstance(judge, EndpointJudge) else False
    results = JudgedResults(
        plan.suite.name,
        plan.suite.title,
        models,
        comparisons,
        {**judge.describe(), "weighted": weighted, "baseline": baselines(plan)},
        describe_settings(plan),
        versions(),
        list(judge.deviations),
        plan.benchmark.measure,
        str(folder),
    )
    results.write()
    return results


def judged_model(plan: Plan, run: JudgedRun, figures: Figures, judging: dict[str, float]) -> JudgedModel:
    """One model's result: the benchmark's figures and the counts that every suite has."""
    expected = [row for row in run.rows if not plan.benchmark.identical(row.item, row.answer)]
    errors = Counter(game["error"] for row in expected for game in row.games if game["score"] is None)
    null = sum(any(game["score"] is None for game in row.games) for row in expected)
    missing = sum(not row.games for row in expected)
    notes = list(figures.notes)
    if null:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(errors.items()))
        notes.append(f"The judge gave no verdict on {null} of {len(run.rows)} items ({kinds}).")
    if missing:
        notes.append(f"The judge gave no reply on {missing} of {len(run.rows)} items; they are left out.")
    generations = [row.generation for row in run.rows]
    return JudgedModel(
        name=run.run.name,
        label=run.run.label,
        fingerprint=run.run.fingerprint,
        model_fingerprint=run.run.model_fingerprint,
        adapter=run.run.adapter,
        base=run.run.base,
        headline=figures.headline,
        metrics=figures.metrics,
        counts=figures.counts,
        n=len(run.rows),
        n_null=null,
        n_missing=missing,
        n_truncated=sum(record["finish_reason"] == "length" for record in generations),
        mean_tokens=sum(record["n_tokens"] for record in generations) / len(generations),
        mean_length=sum(len(row.answer) for row in run.rows) / len(run.rows),
        judging=judging,
        generating=asdict(spent(generations)),
        groups={column: group_table(plan, column, run, figures) for column in plan.suite.group_by},
        notes=notes,
        leaderboard=figures.leaderboard,
        details=figures.details,
    )


def group_table(plan: Plan, column: str, run: JudgedRun, figures: Figures) -> dict[str, dict[str, float]]:
    """Mean share of the win, in percent (or rating), per value of one grouping column; items without a verdict are left
    out."""
    members: dict[str, list[tuple[Item, float]]] = {}
    for row, value in zip(run.rows, figures.item_values, strict=True):
        if value is not None:
            members.setdefault(row.item.groups.get(column, ""), []).append((row.item, value))
    return {name: {"n": len(members[name]), **shown_estimate(plan, members[name])} for name in sorted(members)}


def paired(plan: Plan, ours: JudgedRun, theirs: JudgedRun, figures: Figures, base: Figures) -> JudgedComparison | None:
    """Difference of two models with its interval, over the items where both have a verdict."""
    triples = zip(ours.rows, figures.item_values, base.item_values, strict=True)
    both = [(row.item, own - other) for row, own, other in triples if own is not None and other is not None]
    if not both:
        return None
    own = shown_estimate(plan, both)
    return JudgedComparison(ours.run.name, theirs.run.name, own["value"], own["ci_low"], own["ci_high"], len(both))


def shown_estimate(plan: Plan, values: list[tuple[Item, float]]) -> dict[str, float]:
    """The mean of items' values with its interval, on the scale that is shown."""
    import numpy as np

    clusters = [plan.benchmark.cluster(item) for item, _ in values]
    found = estimate(plan, np.array([value for _, value in values]), clusters)
    return {name: plan.benchmark.measure.factor * value for name, value in vars(found).items()}


def baselines(plan: Plan) -> str:
    """The baseline, or the baselines where they differ between items; empty where answers are rated by themselves."""
    return ", ".join(filter(None, dict.fromkeys(plan.benchmark.baseline_name(item) for item in plan.items)))
