"""Stage 3: figures. Reads grades, writes `results.json`."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .costs import spent
from .grading import Graded, grader_settings, read_grades, read_votes
from .plan import Plan, Run
from .results import Comparison, ModelResult, Results
from .stats import Estimate, bootstrap_mean, maj_at_k, mcnemar_p, pass_at_k, powers_up_to


if TYPE_CHECKING:
    import numpy as np

VERSIONED = (
    "alignkit",
    "torch",
    "transformers",
    "peft",
    "trl",
    "math-verify",
    "alpaca-eval",
    "lm-eval",
    "vllm",
    "bitsandbytes",
)


def score_stage(plan: Plan, folder: Path) -> Results:
    """Compute every figure of the plan from the records and write `results.json`."""
    rows = [read_grades(plan, run, folder) for run in plan.runs]
    correct = [correct_matrix(graded) for graded in rows]
    models = [
        score_run(plan, run, folder, graded, matrix)
        for run, graded, matrix in zip(plan.runs, rows, correct, strict=True)
    ]
    comparisons = []
    if plan.baseline is not None:
        for place, run in enumerate(plan.runs):
            if place != plan.baseline:
                baseline = plan.runs[plan.baseline]
                comparisons.append(compare(plan, run, baseline, correct[place], correct[plan.baseline]))
    results = Results(
        plan.suite.name, plan.suite.title, models, comparisons, describe_settings(plan), versions(), str(folder)
    )
    results.write()
    return results


def score_run(plan: Plan, run: Run, folder: Path, rows: Graded, correct: np.ndarray) -> ModelResult:
    """The figures of one model; `correct` is [items, samples]."""
    generations = [record for _, records, _ in rows for record in records]
    statuses = Counter(grade["status"] for _, _, grades in rows for grade in grades)
    accuracy = estimate(plan, correct.mean(axis=1))
    metrics = {}
    if plan.n_samples > 1:
        import numpy as np

        votes = np.array(list(read_votes(plan, run, folder, rows)))
        for k in powers_up_to(plan.n_samples):
            metrics[f"pass@{k}"] = vars(estimate(plan, pass_at_k(correct, k)))
            metrics[f"maj@{k}"] = vars(estimate(plan, maj_at_k(correct, votes, k)))
    return ModelResult(
        name=run.name,
        label=run.label,
        fingerprint=run.fingerprint,
        model_fingerprint=run.model_fingerprint,
        adapter=run.adapter,
        base=run.base,
        accuracy=accuracy.value,
        ci_low=accuracy.ci_low,
        ci_high=accuracy.ci_high,
        n=len(rows),
        n_completions=len(generations),
        n_correct=int(correct.sum()),
        n_truncated=sum(record["finish_reason"] == "length" for record in generations),
        n_unparsable=statuses["unparsable"],
        n_too_complex=statuses["too_complex"],
        n_timeout=statuses["timeout"],
        n_crash=statuses["crash"],
        n_bad_gold=statuses["bad_gold"],
        mean_tokens=sum(record["n_tokens"] for record in generations) / len(generations),
        generating=asdict(spent(generations)),
        metrics=metrics,
        groups={column: group_table(plan, column, rows, correct) for column in plan.suite.group_by},
    )


def compare(plan: Plan, run: Run, baseline: Run, ours: np.ndarray, theirs: np.ndarray) -> Comparison:
    """The paired comparison of two models on the same items; matrices are [items, samples]."""
    difference = estimate(plan, ours.mean(axis=1) - theirs.mean(axis=1))
    right, base_right = ours.mean(axis=1) >= 0.5, theirs.mean(axis=1) >= 0.5
    only_model, only_baseline = int((right & ~base_right).sum()), int((~right & base_right).sum())
    return Comparison(
        model=run.name,
        baseline=baseline.name,
        difference=difference.value,
        ci_low=difference.ci_low,
        ci_high=difference.ci_high,
        n=len(right),
        both_right=int((right & base_right).sum()),
        only_model_right=only_model,
        only_baseline_right=only_baseline,
        both_wrong=int((~right & ~base_right).sum()),
        mcnemar_p=mcnemar_p(only_model, only_baseline),
    )


def group_table(plan: Plan, column: str, rows: Graded, correct: np.ndarray) -> dict[str, dict[str, float]]:
    """Accuracy per value of one grouping column."""
    values = [item.groups.get(column, "") for item, _, _ in rows]
    table = {}
    for value in sorted(set(values)):
        members = [place for place, own in enumerate(values) if own == value]
        table[value] = {"n": len(members), **vars(estimate(plan, correct[members].mean(axis=1)))}
    return table


def correct_matrix(rows: Graded) -> np.ndarray:
    """Verdicts [items, samples] bool."""
    import numpy as np

    return np.array([[bool(grade["correct"]) for grade in grades] for _, _, grades in rows])


def estimate(plan: Plan, values: np.ndarray, clusters: Sequence[str] | None = None) -> Estimate:
    return bootstrap_mean(values, plan.options.num_resamples, plan.options.confidence, clusters=clusters)


def describe_settings(plan: Plan) -> dict[str, Any]:
    """What a reader must know to read or to repeat the figures."""
    options = plan.options
    return {
        "protocol": plan.protocol,
        "n_samples": plan.n_samples,
        "sampling": plan.sampling.to_dict(),
        **({"temperatures": plan.temperatures} if plan.temperatures else {}),
        **({"turns": plan.suite.turns} if plan.suite.turns > 1 else {}),
        "limit": options.limit,
        "suite_size": plan.suite.size,
        "data": plan.data,
        "backend": options.backend,
        "dtype": options.dtype,
        "device": options.device,
        "load_in_4bit": options.load_in_4bit,
        **(grader_settings(plan) if plan.suite.kind == "math" else {}),
        "num_resamples": options.num_resamples,
        "confidence": options.confidence,
        "note": plan.suite.note,
    }


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
