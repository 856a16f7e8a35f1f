"""AlpacaEval's win rates from preferences: 1 = the reference is better ... 2 = the candidate is better."""

import datasets
import evaluate

from alignkit.eval.alpaca_eval2.figures import win_rate


class WinRate(evaluate.Metric):
    """`compute(predictions=[preference])` -> win_rate, standard_error and discrete_win_rate, in [0, 1]."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean preference minus 1, its standard error, and the share of wins with draws as halves.",
            citation="",
            inputs_description="predictions: preferences between 1 and 2, NaN where there is no verdict.",
            features=datasets.Features({"predictions": datasets.Value("float64")}),
        )

    def _compute(self, predictions: list[float]) -> dict[str, float]:
        import numpy as np

        found = win_rate(np.array(predictions))
        return {
            "win_rate": found.win_rate / 100,
            "standard_error": found.standard_error / 100,
            "discrete_win_rate": found.discrete_win_rate / 100,
        }
