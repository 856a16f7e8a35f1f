"""The scoring maths: accuracies over several samples, bootstrap intervals over items, paired comparison. numpy only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alignkit.errors import InputError


if TYPE_CHECKING:
    import numpy as np

MAX_SUBSETS = 100
# Resamples drawn at once: bounds the memory.
CHUNK_CELLS = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A mean over items with its percentile bootstrap interval."""

    value: float
    ci_low: float
    ci_high: float


def bootstrap_mean(
    values: np.ndarray,
    num_resamples: int,
    confidence: float = 0.95,
    seed: int = 0,
    clusters: Sequence[str] | None = None,
) -> Estimate:
    """Mean of `values` [n] with a percentile bootstrap interval: items are drawn with replacement.

    A value belongs to one item (with several samples per item it is their mean), so that samples of one item, which
    are not independent, stay together: the cluster bootstrap. `clusters` names the item of each value where an item has
    several (the turns of a dialogue): whole items are drawn, the mean is over the values drawn with them. The same seed
    draws the same items for every model.
    """
    import numpy as np

    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean())
    sizes = None
    if clusters is not None and len(set(clusters)) < len(values):
        places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        numbers = np.array([places[name] for name in clusters])
        values, sizes = np.bincount(numbers, weights=values), np.bincount(numbers)
    n = len(values)
    rng = np.random.default_rng(seed)
    means = []
    left = num_resamples
    while left:
        rows = min(left, max(1, CHUNK_CELLS // n))
        drawn = rng.integers(0, n, size=(rows, n))
        if sizes is None:
            means.append(values[drawn].mean(axis=1))
        else:
            means.append(values[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
        left -= rows
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Estimate(mean, float(low), float(high))


def pass_at_k(correct: np.ndarray, k: int) -> np.ndarray:
    """Per problem, the chance that one of k samples is right: 1 - C(n - c, k) / C(n, k). `correct` [P, n] bool -> [P].

    Unbiased (Chen et al. 2021, eq. 1); 1 where n - c < k. Raises `InputError` for k > n.
    """
    import numpy as np

    n = correct.shape[1]
    if not 1 <= k <= n:
        raise InputError(f"pass@{k} needs at least {k} samples per problem, but there are {n}")
    return np.array([1 - math.comb(n - int(c), k) / math.comb(n, k) for c in correct.sum(axis=1)])


def maj_at_k(correct: np.ndarray, groups: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Per problem, whether the commonest answer among k samples is right. `correct`, `groups` [P, n] -> [P].

    `groups[p, s]` numbers the answer of sample s (equivalent answers share a number; -1: no answer, which never wins).
    Ties go to the answer seen first. For k < n the mean over all subsets of k samples, or over `MAX_SUBSETS` random
    ones (seeded) where there are more. Raises `InputError` for k > n.
    """
    import numpy as np

    n = correct.shape[1]
    if not 1 <= k <= n:
        raise InputError(f"maj@{k} needs at least {k} samples per problem, but there are {n}")
    if math.comb(n, k) <= MAX_SUBSETS:
        subsets = list(itertools.combinations(range(n), k))
    else:
        rng = np.random.default_rng(seed)
        subsets = [tuple(sorted(rng.choice(n, size=k, replace=False))) for _ in range(MAX_SUBSETS)]
    return np.array(
        [
            np.mean([majority_is_right(row[list(subset)], votes[list(subset)]) for subset in subsets])
            for row, votes in zip(correct, groups, strict=True)
        ]
    )


def majority_is_right(correct: np.ndarray, groups: np.ndarray) -> bool:
    """Whether the largest group of one problem's samples is right; its first sample speaks for it."""
    counts: dict[int, int] = {}
    for group in groups.tolist():
        if group >= 0:
            counts[group] = counts.get(group, 0) + 1
    if not counts:
        return False
    winner = max(counts, key=counts.__getitem__)  # dicts keep first-seen order and max takes the first of equals
    return bool(correct[groups.tolist().index(winner)])


def powers_up_to(n: int) -> list[int]:
    """1, 2, 4, ... below n, and n."""
    powers = [2**power for power in range(n.bit_length()) if 2**power < n]
    return [*powers, n]


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of McNemar's test: a fair coin gives a split at least as uneven as this one."""
    n = only_a + only_b
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1)) / 2**n
    return min(1.0, 2 * tail)


def group_equivalent(texts: list[str | None], same: Callable[[str, str], bool]) -> list[int]:
    """Number the answers of one problem: each joins the first earlier answer it is equivalent to; None is -1."""
    representatives: list[str] = []
    numbers = []
    for text in texts:
        if text is None:
            numbers.append(-1)
            continue
        found = next((i for i, other in enumerate(representatives) if text == other or same(other, text)), None)
        if found is None:
            found = len(representatives)
            representatives.append(text)
        numbers.append(found)
    return numbers
