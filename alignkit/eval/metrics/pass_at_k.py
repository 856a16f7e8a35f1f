"""pass@k and maj@k of several mathematical answers per problem."""

import datasets
import evaluate

from alignkit.eval.grading import equivalence_groups
from alignkit.eval.stats import maj_at_k, pass_at_k, powers_up_to
from alignkit.rewards.answers import shared_pool


class PassAtK(evaluate.Metric):
    """`compute(predictions=[[text, ...]], references=[gold])` -> `avg@n`, and `pass@k`, `maj@k` for k = 1, 2, 4, ... n."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Unbiased pass@k (Chen et al. 2021) and majority vote by mathematical equivalence.",
            citation="",
            inputs_description="predictions: as many texts for every problem; references: golds.",
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("string")), "references": datasets.Value("string")}
            ),
        )

    def _compute(
        self, predictions: list[list[str]], references: list[str], tolerance: float | None = None
    ) -> dict[str, float]:
        import numpy as np

        pool = shared_pool(tolerance=tolerance)
        size = len(predictions[0])
        flat = [(gold, text) for gold, texts in zip(references, predictions, strict=True) for text in texts]
        grades = np.array(pool.grade(flat), dtype=object).reshape(len(predictions), size)
        correct = np.array([[grade.correct for grade in row] for row in grades])
        groups = np.array(
            [
                equivalence_groups([grade.extracted if grade.status == "ok" else None for grade in row], pool)
                for row in grades
            ]
        )
        figures = {f"avg@{size}": float(correct.mean())}
        for k in powers_up_to(size):
            figures[f"pass@{k}"] = float(pass_at_k(correct, k).mean())
            figures[f"maj@{k}"] = float(maj_at_k(correct, groups, k).mean())
        return figures
