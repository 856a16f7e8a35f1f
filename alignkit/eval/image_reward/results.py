"""Stage "score" of an image suite: mean rewards and paired differences with bootstrap intervals, into `results.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..plan import Plan, Run
from ..results import ResultFiles
from ..scoring import estimate, versions
from .planning import image_sampling, scorer_fingerprint, scorer_spec
from .scoring import Scored, read_scores


if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ImageModel:
    """One model's figures in the scorer's unit: `reward` is the mean over captions of the mean over their images, with its
    bootstrap interval over captions (`n` of them); `parts` the means of the parts of a rule."""

    name: str
    label: str
    fingerprint: str
    model_fingerprint: str
    adapter: bool
    base: str | None
    reward: float
    ci_low: float
    ci_high: float
    n: int
    n_images: int
    parts: dict[str, float]


@dataclass(frozen=True)
class ImageComparison:
    """`model` minus `baseline` on the same captions and seeds: mean difference with its bootstrap interval over captions, and
    the share of images that score higher, ties counted half."""

    model: str
    baseline: str
    difference: float
    ci_low: float
    ci_high: float
    n: int
    share_better: float


@dataclass(frozen=True)
class ImageResults(ResultFiles):
    """Everything that was measured, and where it is written."""

    kind: ClassVar[str] = "image_reward"

    suite: str
    title: str
    unit: str
    models: list[ImageModel]
    comparisons: list[ImageComparison]
    settings: dict[str, Any]
    versions: dict[str, str]
    out_dir: str = ""

    @classmethod
    def from_dict(cls, values: dict[str, Any], out_dir: str) -> ImageResults:
        values["models"] = [ImageModel(**model) for model in values["models"]]
        values["comparisons"] = [ImageComparison(**own) for own in values["comparisons"]]
        return cls(**values, out_dir=out_dir)


def score_rewards(plan: Plan, folder: Path) -> ImageResults:
    """Compute every figure of the plan from the records and write `results.json`."""
    rows = [read_scores(plan, run, folder) for run in plan.runs]
    scores = [score_matrix(scored) for scored in rows]
    models = [image_model(plan, *own) for own in zip(plan.runs, rows, scores, strict=True)]
    comparisons = []
    if plan.baseline is not None:
        for place, run in enumerate(plan.runs):
            if place != plan.baseline:
                base = plan.runs[plan.baseline]
                comparisons.append(compare(plan, run, base, scores[place], scores[plan.baseline]))
    unit = rows[0][0][2][0]["unit"]
    results = ImageResults(
        plan.suite.name, plan.suite.title, unit, models, comparisons, settings_of(plan), versions(), str(folder)
    )
    results.write()
    return results


def image_model(plan: Plan, run: Run, rows: Scored, scores: np.ndarray) -> ImageModel:
    """The figures of one model; `scores` is [captions, samples]."""
    reward = estimate(plan, scores.mean(axis=1))
    grades = [grade for _, _, own in rows for grade in own]
    parts = {name: sum(grade["parts"][name] for grade in grades) / len(grades) for name in grades[0]["parts"]}
    return ImageModel(
        run.name,
        run.label,
        run.fingerprint,
        run.model_fingerprint,
        run.adapter,
        run.base,
        reward.value,
        reward.ci_low,
        reward.ci_high,
        len(rows),
        len(grades),
        parts,
    )


def compare(plan: Plan, run: Run, baseline: Run, ours: np.ndarray, theirs: np.ndarray) -> ImageComparison:
    """The paired comparison of two models; matrices are [captions, samples], the same seed at the same place."""
    own = estimate(plan, (ours - theirs).mean(axis=1))
    better = float(((ours > theirs) + 0.5 * (ours == theirs)).mean())
    return ImageComparison(run.name, baseline.name, own.value, own.ci_low, own.ci_high, len(ours), better)


def score_matrix(rows: Scored) -> np.ndarray:
    """Scores [captions, samples]."""
    import numpy as np

    return np.array([[grade["score"] for grade in grades] for _, _, grades in rows])


def settings_of(plan: Plan) -> dict[str, Any]:
    """What a reader must know to read or to repeat the figures."""
    options = plan.options
    return {
        "scorer": scorer_spec(options),
        "scorer_fingerprint": scorer_fingerprint(options),
        "sampling": image_sampling(options).to_dict(),
        "images_per_caption": plan.n_samples,
        "seed": options.seed,
        "data": plan.data,
        "limit": options.limit,
        "dtype": options.dtype,
        "device": options.device,
        "num_resamples": options.num_resamples,
        "confidence": options.confidence,
    }
