"""Accuracy of mathematical answers: math-verify in killable workers, as everywhere in alignkit."""

import datasets
import evaluate

from alignkit.rewards.answers import shared_pool


class MathAccuracy(evaluate.Metric):
    """`compute(predictions=[text], references=[gold])` -> accuracy, and the shares without an answer and timed out."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of texts whose final answer is mathematically equal to the gold.",
            citation="",
            inputs_description="predictions: texts; references: golds (LaTeX or plain).",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(
        self, predictions: list[str], references: list[str], tolerance: float | None = None
    ) -> dict[str, float]:
        pool = shared_pool(tolerance=tolerance)
        grades = pool.grade(list(zip(references, predictions, strict=True)))
        statuses = [grade.status for grade in grades]
        return {
            "accuracy": sum(grade.correct for grade in grades) / len(grades),
            "no_answer": sum(status in ("unparsable", "too_complex") for status in statuses) / len(grades),
            "timed_out": sum(status in ("timeout", "crash") for status in statuses) / len(grades),
        }
