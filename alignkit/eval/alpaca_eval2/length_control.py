r"""The length-controlled win rate: what the win rate would be if both models' answers were of the same length.

Per model, without intercept (Dubois et al. 2024, arXiv 2404.04475; alpaca-eval 0.6.6, `metrics/glm_winrate.py`):

\( P(\text{candidate wins on } i) = \sigma(\varphi \tanh d_i + \psi \gamma_i + \theta g_i) \),
\( d_i = (\ell^{base}_i - \ell^{cand}_i) / \mathrm{std}_j(\ell^{base}_j - \ell^{cand}_j) \) in characters (ddof 1, not centred),

\( \gamma_i \) a published difficulty of the instruction, \( g_i = 1 \). 1,610 further rows of weight 0.1 with g = 0 (the
baseline prompted to be concise and to be verbose, judged against itself) pull \( \varphi, \psi \) to what length alone
does. L1 penalty, C by 5-fold cross-validation. The figure is 100 mean \( \sigma(\psi\gamma_i + \theta) \).

Unlike the package, rows are known by their instruction, so their order and missing ones change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alignkit.errors import InputError

from .l1_logistic import fit_l1_logistic, sigmoid, softplus


if TYPE_CHECKING:
    import numpy as np

NUM_FOLDS = 5
# lambda / 2: the two gamed baselines share the regularisation strength 0.2.
GAMED_WEIGHT = 0.1
FEW_INSTRUCTIONS = 400
# How far the fits are run that only choose C: their losses are then exact to some ten digits.
CHOOSING_TOLERANCE = 1e-6
BOOTSTRAP_CHUNK = 50


@dataclass(frozen=True)
class GamedRows:
    """The judged rows of the gamed baseline: tanh of the standardised length difference, difficulty, target; each [G]."""

    tanh_length: np.ndarray
    difficulty: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class SideData:
    """The published data that the fit needs, and in plain words where they came from and what that means.

    `difficulty` maps an instruction to its gamma; None leaves the term out (`length_controlled_minimal`). `gamed` None
    leaves the regularising rows out (`length_controlled_noreg`).
    """

    difficulty: dict[str, float] | None
    gamed: GamedRows | None
    notes: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        if self.difficulty is None:
            return "length_controlled_minimal"
        return "length_controlled_v1" if self.gamed is not None else "length_controlled_noreg"


@dataclass(frozen=True)
class LengthControlled:
    """The fit of one model. `value` and `standard_error` in percent; the latter is the spread of the predicted
    probabilities over instructions, not a sampling error: that is what `ci_low` and `ci_high` are for."""

    value: float
    standard_error: float
    glm_len: float
    glm_difficulty: float
    glm_model: float
    c: float
    ci_low: float = float("nan")
    ci_high: float = float("nan")


def length_controlled(
    preferences: np.ndarray,
    len_baseline: np.ndarray,
    len_candidate: np.ndarray,
    difficulty: np.ndarray | None,
    gamed: GamedRows | None,
    c: float | None = None,
    num_resamples: int = 0,
    confidence: float = 0.95,
) -> LengthControlled:
    """Fit one model's length-controlled win rate.

    Args:
        preferences: [n], 1 = baseline wins ... 2 = candidate wins; NaN where there is no verdict: such a row is not
            fitted, but its instruction is in the mean, as in the package.
        len_baseline, len_candidate: [n] lengths in characters.
        difficulty: gamma [n], or None for the variant without it.
        gamed: the regularising rows, or None for the variant without them.
        c: the inverse penalty; None chooses it by cross-validation, as the package does.
        num_resamples: bootstrap resamples of instructions behind the interval (at the chosen C); 0 leaves it out.

    The baseline against itself (no difference in length anywhere, nothing but draws) is 50 by construction. Raises
    `InputError` where there are fewer rows with a verdict than folds, or all lengths differ by the same.
    """
    import numpy as np

    lengths = np.asarray(len_baseline, dtype=np.float64) - np.asarray(len_candidate, dtype=np.float64)
    spread = lengths.std(ddof=1) if len(lengths) > 1 else 0.0
    if len(lengths) and not lengths.any() and (np.asarray(preferences) == 1.5).all():
        return LengthControlled(50.0, 0.0, 0.0, 0.0, 0.0, float("nan"), 50.0, 50.0)
    if not spread > 0:
        raise InputError(
            "the length differences of all answers are equal: no length-controlled win rate can be fitted"
        )
    gamma = np.zeros(len(lengths)) if difficulty is None else np.asarray(difficulty, dtype=np.float64)
    target = np.asarray(preferences, dtype=np.float64) - 1
    known = np.isfinite(target)
    if known.sum() < NUM_FOLDS:
        raise InputError(f"{int(known.sum())} verdicts are too few for a length-controlled win rate")
    features = np.stack([np.tanh(lengths / spread), gamma, np.ones(len(lengths))], axis=1)
    x, y, weight = features[known], target[known], np.ones(int(known.sum()))
    num_gamed = 0
    if gamed is not None:
        num_gamed = len(gamed.target)
        own_gamma = gamed.difficulty if difficulty is not None else np.zeros(num_gamed)
        x = np.concatenate([np.stack([gamed.tanh_length, own_gamma, np.zeros(num_gamed)], axis=1), x])
        y = np.concatenate([gamed.target, y])
        weight = np.concatenate([np.full(num_gamed, GAMED_WEIGHT), weight])
    c = choose_c(x, y, weight) if c is None else c
    beta = fit_l1_logistic(x, y, c * weight[None])
    predicted = sigmoid(features[:, 1] * beta[0, 1] + beta[0, 2])
    low, high = float("nan"), float("nan")
    if num_resamples:
        low, high = bootstrap(x, y, weight, c, beta, num_gamed, num_resamples, confidence)
    return LengthControlled(
        value=float(100 * predicted.mean()),
        standard_error=float(100 * predicted.std(ddof=1) / np.sqrt(len(predicted))),
        glm_len=float(beta[0, 0]),
        glm_difficulty=float(beta[0, 1]),
        glm_model=float(beta[0, 2]),
        c=float(c),
        ci_low=low,
        ci_high=high,
    )


def candidate_cs() -> np.ndarray:
    """The ten values of C that scikit-learn tries."""
    import numpy as np

    return np.logspace(-4, 4, 10)


def choose_c(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """C by cross-validation: fold = row number mod 5; the score of a fold is its mean weighted log loss."""
    import numpy as np

    cs = candidate_cs()
    folds: np.ndarray = np.arange(len(y)) % NUM_FOLDS
    whole = fit_l1_logistic(x, y, np.outer(cs, weight), tolerance=CHOOSING_TOLERANCE)
    training = np.concatenate([np.outer(cs, weight * (folds != fold)) for fold in range(NUM_FOLDS)])
    beta = fit_l1_logistic(x, y, training, np.tile(whole, (NUM_FOLDS, 1)), CHOOSING_TOLERANCE)
    scores = []
    for fold in range(NUM_FOLDS):
        held_out = folds == fold
        logits = beta[fold * len(cs) : (fold + 1) * len(cs)] @ x[held_out].T
        scores.append((weight[held_out] * (softplus(logits) - y[held_out] * logits)).mean(axis=1))
    return float(cs[int(np.argmin(np.mean(scores, axis=0)))])


def bootstrap(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    c: float,
    beta: np.ndarray,
    num_gamed: int,
    num_resamples: int,
    confidence: float,
) -> tuple[float, float]:
    """Percentile interval over resampled instructions, refitted at the same C; the gamed rows are not resampled."""
    import numpy as np

    rng = np.random.default_rng(0)
    n = len(y) - num_gamed
    values = []
    for start in range(0, num_resamples, BOOTSTRAP_CHUNK):
        size = min(BOOTSTRAP_CHUNK, num_resamples - start)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)
        factor = np.concatenate([np.ones((size, num_gamed)), counts], axis=1)
        fitted = fit_l1_logistic(x, y, c * weight * factor, np.repeat(beta, size, axis=0))
        predicted = sigmoid(fitted[:, 1:2] * x[num_gamed:, 1] + fitted[:, 2:3])
        values.append((counts * predicted).sum(axis=1) / n)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(values), [tail, 1 - tail])
    return float(100 * low), float(100 * high)


def is_extreme(win_rate: float, controlled: float) -> bool:
    """The package's warning rule: length control moved the figure so far that the fit may have failed."""
    too_small = controlled < min(0.75 * win_rate, win_rate - 10)
    too_large = controlled > max(win_rate + (100 - win_rate) / 4, win_rate + 10)
    return too_small or too_large
