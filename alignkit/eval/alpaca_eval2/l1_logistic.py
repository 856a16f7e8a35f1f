"""L1-penalised logistic regression with soft targets, many problems at once. numpy only.

liblinear (behind scikit-learn's `LogisticRegressionCV(penalty="l1")`) is what the official length-controlled win rate is
fitted with. Here: proximal Newton to convergence, vectorised over problems that share rows and differ in weights and C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import numpy as np

MAX_NEWTON_STEPS = 60
MAX_SWEEPS = 200
MAX_HALVINGS = 40
TOLERANCE = 1e-9
SWEEP_TOLERANCE = 1e-11
# Keeps the curvature positive where all probabilities are 0 or 1, or a column is all zero.
RIDGE = 1e-10


def fit_l1_logistic(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    r"""Minimise \( \|\beta_p\|_1 + \sum_i w_{pi}\, \ell(y_i, \sigma(x_i \cdot \beta_p)) \) for every problem p.

    Args:
        features: X [n, k]; no intercept is added and none is exempt from the penalty.
        targets: y [n] in [0, 1].
        weights: w [P, n], at least 0; the inverse strength C of the penalty is a factor of it.
        start: [P, k], default zeros.
        tolerance: the subgradient at the result is below it times the total weight.

    Returns the coefficients [P, k].
    """
    import numpy as np

    num_problems, k = len(weights), features.shape[1]
    beta = np.zeros((num_problems, k)) if start is None else np.array(start, dtype=np.float64)
    products = (features[:, :, None] * features[:, None, :]).reshape(len(features), k * k)
    scale = tolerance * np.maximum(weights.sum(axis=1), 1.0)
    active = np.arange(num_problems)
    own, own_weights = beta, weights
    loss, probs = losses(features, targets, own_weights, own)
    for _ in range(MAX_NEWTON_STEPS):
        gradient = (own_weights * (probs - targets)) @ features
        moving = violation(own, gradient) > scale[active]
        if not moving.any():
            break
        if not moving.all():
            active, own, own_weights = active[moving], own[moving], own_weights[moving]
            loss, probs, gradient = loss[moving], probs[moving], gradient[moving]
        curvature = ((own_weights * probs * (1 - probs)) @ products).reshape(-1, k, k) + RIDGE * np.eye(k)
        direction = l1_quadratic_step(own, gradient, curvature)
        own, loss, probs = line_search(features, targets, own_weights, own, loss, gradient, direction)
        beta[active] = own
    return beta


def violation(beta: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Per problem, the largest distance of 0 from the subdifferential of the objective."""
    import numpy as np

    at_zero = np.maximum(np.abs(gradient) - 1, 0.0)
    return np.where(beta == 0, at_zero, np.abs(gradient + np.sign(beta))).max(axis=1)


def l1_quadratic_step(beta: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """The step d [P, k] that minimises g.d + d.H.d/2 + |beta + d|_1.

    Where no coefficient changes its sign it is the solution of a linear system, else it comes by coordinate descent.
    """
    import numpy as np

    sign = np.sign(beta)
    step = -np.linalg.solve(curvature, (gradient + sign)[:, :, None])[:, :, 0]
    rest = (np.sign(beta + step) != sign).any(axis=1) | (sign == 0).any(axis=1)
    if rest.any():
        step[rest] = coordinate_descent(beta[rest], gradient[rest], curvature[rest])
    return step


def coordinate_descent(beta: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """The same step by minimising over one coordinate after the other."""
    import numpy as np

    step = np.zeros_like(beta)
    slope = np.zeros_like(beta)  # H d
    for _ in range(MAX_SWEEPS):
        largest = 0.0
        for j in range(beta.shape[1]):
            diagonal = curvature[:, j, j]
            current = beta[:, j] + step[:, j]
            free = current - (gradient[:, j] + slope[:, j]) / diagonal
            new = np.sign(free) * np.maximum(np.abs(free) - 1 / diagonal, 0.0)
            change = new - current
            step[:, j] += change
            slope += change[:, None] * curvature[:, :, j]
            largest = max(largest, float(np.abs(change).max()))
        if largest < SWEEP_TOLERANCE:
            break
    return step


def line_search(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    beta: np.ndarray,
    loss: np.ndarray,
    gradient: np.ndarray,
    direction: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`beta` moved along `direction`, each problem by the first of 1, 1/2, 1/4, ... that lowers its objective enough; with
    its loss and probabilities there."""
    import numpy as np

    norm = np.abs(beta).sum(axis=1)
    before = loss + norm
    promised = (gradient * direction).sum(axis=1) + np.abs(beta + direction).sum(axis=1) - norm
    slack = 1e-12 * np.maximum(np.abs(before), 1.0)
    size = np.ones(len(beta))
    for _ in range(MAX_HALVINGS):
        moved = beta + size[:, None] * direction
        loss, probs = losses(features, targets, weights, moved)
        short = loss + np.abs(moved).sum(axis=1) > before + 0.01 * size * promised + slack
        if not short.any():
            break
        size[short] /= 2
    return moved, loss, probs


def losses(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted log loss [P] and probabilities [P, n], with one exponential for both."""
    import numpy as np

    logits = beta @ features.T
    small = np.exp(-np.abs(logits))
    softplus = np.maximum(logits, 0.0) + np.log1p(small)
    probs = np.where(logits >= 0, 1.0, small) / (1.0 + small)
    return ((softplus - targets * logits) * weights).sum(axis=1), probs


def softplus(logits: np.ndarray) -> np.ndarray:
    """log(1 + e^z); its log loss with soft target y is softplus(z) - y z."""
    import numpy as np

    return np.maximum(logits, 0.0) + np.log1p(np.exp(-np.abs(logits)))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
