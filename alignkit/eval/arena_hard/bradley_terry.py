r"""The Bradley-Terry fit behind style control: \( P(m \succ b) = \sigma(\delta_m + x^\top \beta) \).

Every model meets only the baseline, so one strength \( \delta_m \) per model is enough (0 for the baseline); without
covariates the fit is the weighted share of wins and needs no optimiser. `converged` is the optimum of the version's
objective, the two `official_*` are what its own code returns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .battles import Battles
from .versions import V01, Version


if TYPE_CHECKING:
    import numpy as np

MAX_STEPS = 200
# Newton: above the first a step is checked against the loss; a step below the second is the last, since what it leaves
# over is of second order.
SAFE_GAIN = 1.0
LAST_GAIN = 1e-7
# Keeps the strength of a model that wins or loses everything finite (a score of 0 or 100 to eight digits) without
# moving any other fit: it is 1e-6 of the weight of one battle.
RIDGE = 1e-6
# v0.1's code measures strengths in decades and passes every battle twice to scikit-learn's default C = 1.
DECADE = math.log(10)


@dataclass(frozen=True)
class Fit:
    """`strength` [M] of the models over the baseline in natural logits, `slope` [k] of the covariates."""

    strength: np.ndarray
    slope: np.ndarray


def penalty_matrix(num_models: int, num_covariates: int, version: Version) -> np.ndarray:
    r"""Quadratic penalty \( \tfrac12 z^\top P z \) on \( z = (\delta, \beta) \), per battle counted once.

    v0.1 penalises \( \sum_m \theta_m^2 + \sum_k \beta_k^2 \) with \( \delta_m = \ln 10\, (\theta_m - \theta_b) \), the
    baseline's \( \theta_b \) included and free; minimised over \( \theta_b \) that is the centred square below.
    """
    import numpy as np

    size = num_models + num_covariates
    if version is not V01:
        return RIDGE * np.eye(size)
    matrix = np.eye(size)
    models = slice(0, num_models)
    matrix[models, models] = (np.eye(num_models) - 1 / (num_models + 1)) / DECADE**2
    return matrix / 2


def converged(
    battles: Battles, covariates: np.ndarray, version: Version, weight: np.ndarray, start: Fit | None = None
) -> Fit:
    """The optimum by Newton's method with step halving. `weight` [n] replaces the battles' own (for resampling).

    Args:
        covariates: [n, k] standardised style differences.
        start: where to begin; None begins at 0.
    """
    import numpy as np
    from scipy.special import expit

    num_models, k = len(battles.models), covariates.shape[1]
    penalty = penalty_matrix(num_models, k, version)
    z = np.zeros(num_models + k) if start is None else np.concatenate([start.strength, start.slope])

    def loss(z: np.ndarray) -> float:
        logits = z[battles.model] + covariates @ z[num_models:]
        return float(weight @ (np.logaddexp(0, logits) - battles.share * logits) + z @ penalty @ z / 2)

    def per_model(values: np.ndarray) -> np.ndarray:
        return np.bincount(battles.model, weights=values, minlength=num_models)

    for _ in range(MAX_STEPS):
        p = expit(z[battles.model] + covariates @ z[num_models:])
        error = weight * (p - battles.share)
        curvature = weight * p * (1 - p)
        gradient = np.concatenate([per_model(error), covariates.T @ error]) + penalty @ z
        hessian = penalty.copy()
        hessian[:num_models, :num_models] += np.diag(per_model(curvature))
        mixed = np.array([per_model(curvature * column) for column in covariates.T]).reshape(k, num_models)
        hessian[num_models:, :num_models] += mixed
        hessian[:num_models, num_models:] += mixed.T
        hessian[num_models:, num_models:] += covariates.T @ (curvature[:, None] * covariates)
        step = np.linalg.solve(hessian, gradient)
        gain = gradient @ step  # twice what the quadratic model promises
        scale = 1.0
        if gain > SAFE_GAIN:
            before = loss(z)
            while loss(z - scale * step) > before and scale > 1e-9:
                scale /= 2
        z = z - scale * step
        if gain < LAST_GAIN:
            break
    return Fit(z[:num_models], z[num_models:])


def official_v01(battles: Battles, covariates: np.ndarray, weight: np.ndarray) -> Fit:
    """v0.1's fit: scikit-learn's `LogisticRegression` with its default penalty and tolerance, ties as one win each way."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    n, num_models = len(weight), len(battles.models)
    design = np.zeros((n, num_models + 1 + covariates.shape[1]))
    design[np.arange(n), battles.model] = DECADE
    design[:, num_models] = -DECADE
    design[:, num_models + 1 :] = covariates
    outcomes: np.ndarray = np.repeat([1.0, 0.0], n)
    weights = 2 * np.concatenate([weight * battles.share, weight * (1 - battles.share)])
    kept = weights > 0
    model = LogisticRegression(fit_intercept=False)
    model.fit(np.vstack([design, design])[kept], outcomes[kept], sample_weight=weights[kept])
    found = model.coef_[0]
    return Fit(DECADE * (found[:num_models] - found[num_models]), found[num_models + 1 :])


def official_v2(battles: Battles, covariates: np.ndarray, weight: np.ndarray) -> Fit:
    """v2.0's fit: 50 L-BFGS steps of torch in float32 with learning rate 0.1 from 0.5; it stops before the optimum.

    Where it stops depends on the rounding, and so on the order of the rows: other orders end up to 0.1 points away. The
    official order (every verdict as one or three rows, candidate-first game before baseline-first) is kept.
    """
    import numpy as np
    import torch

    rows: np.ndarray = np.repeat(np.arange(len(weight)), np.asarray(weight).astype(int))
    names = sorted((*battles.models, battles.baseline))
    column = np.array([names.index(name) for name in battles.models])
    baseline, num_names = names.index(battles.baseline), len(names)
    design = torch.zeros(len(rows), num_names + covariates.shape[1])
    design[torch.arange(len(rows)), torch.from_numpy(column[battles.model[rows]])] = 1.0
    design[:, baseline] = -1.0
    design[:, num_names:] = torch.from_numpy(covariates[rows])
    share = torch.from_numpy(battles.share[rows]).float()
    found = torch.full((design.shape[1],), 0.5, requires_grad=True)
    optimizer = torch.optim.LBFGS([found], lr=0.1, max_iter=50, tolerance_grad=1e-9, tolerance_change=1e-9)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        # Within the bounds nothing changes; without them a saturated row would turn the loss into NaN.
        p = torch.sigmoid(design @ found).clamp(1e-38, 1 - 2**-24)
        loss = -(torch.log(p) * share + torch.log(1 - p) * (1 - share)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    values = found.detach().double().numpy()
    return Fit(values[column] - values[baseline], values[num_names:])
