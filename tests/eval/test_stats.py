"""The scoring maths against closed forms, published figures and properties."""

import gzip
import json
import math
import os
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.errors import InputError
from alignkit.eval.stats import (
    bootstrap_mean,
    group_equivalent,
    maj_at_k,
    majority_is_right,
    mcnemar_p,
    pass_at_k,
    powers_up_to,
)


DATA = os.environ.get("ALIGNKIT_EVAL_DATA")
matrices = st.integers(1, 8).flatmap(
    lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=6).map(np.array)
)


@settings(deadline=None)
@given(matrices)
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(correct):
    n = correct.shape[1]
    for k in range(1, n + 1):
        subsets = list(combinations(range(n), k))
        brute = [np.mean([row[list(subset)].any() for subset in subsets]) for row in correct]
        np.testing.assert_allclose(pass_at_k(correct, k), brute, atol=1e-12)


@settings(deadline=None)
@given(matrices)
def test_pass_at_k_starts_at_the_mean_and_never_falls(correct):
    values = [pass_at_k(correct, k).mean() for k in range(1, correct.shape[1] + 1)]
    assert values[0] == pytest.approx(correct.mean())
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(values))


@settings(deadline=None)
@given(matrices)
def test_maj_at_one_is_the_mean_where_every_sample_has_an_answer(correct):
    groups = np.zeros_like(correct, dtype=int)
    assert maj_at_k(correct, groups, 1).mean() == pytest.approx(correct.mean())


@pytest.mark.parametrize("metric", [pass_at_k, lambda correct, k: maj_at_k(correct, np.zeros((2, 4), int), k)])
@pytest.mark.parametrize("k", [0, 5])
def test_k_beyond_the_samples_is_refused(metric, k):
    with pytest.raises(InputError, match=f"@{k} needs"):
        metric(np.ones((2, 4), dtype=bool), k)


def test_majority_takes_the_first_of_equals_and_never_the_unparsable():
    right = np.array([True, False, False, True])
    assert majority_is_right(right, np.array([0, 1, 1, 0]))
    assert not majority_is_right(right[::-1].copy()[1:], np.array([1, 1, 0]))
    assert majority_is_right(right, np.array([0, -1, -1, -1]))
    assert not majority_is_right(np.array([True, True]), np.array([-1, -1]))


def test_maj_at_k_over_random_subsets_is_seeded_and_near_the_exact_mean():
    rng = np.random.default_rng(0)
    correct = rng.random((40, 12)) < 0.6
    groups = np.where(correct, 0, rng.integers(1, 4, correct.shape))
    first, again = maj_at_k(correct, groups, 5), maj_at_k(correct, groups, 5)
    np.testing.assert_array_equal(first, again)
    exact = np.mean(
        [
            majority_is_right(row[list(subset)], votes[list(subset)])
            for row, votes in zip(correct, groups, strict=True)
            for subset in combinations(range(12), 5)
        ]
    )
    assert first.mean() == pytest.approx(exact, abs=0.03)


def test_bootstrap_interval_is_the_binomial_one_and_is_seeded():
    values = np.array([1.0] * 60 + [0.0] * 40)
    estimate = bootstrap_mean(values, 20_000)
    half = 1.96 * math.sqrt(0.6 * 0.4 / 100)
    assert estimate.value == 0.6
    assert estimate.ci_low == pytest.approx(0.6 - half, abs=0.012)
    assert estimate.ci_high == pytest.approx(0.6 + half, abs=0.012)
    assert bootstrap_mean(values, 20_000) == estimate
    narrow = bootstrap_mean(values, 20_000, confidence=0.5)
    assert estimate.ci_low < narrow.ci_low < narrow.ci_high < estimate.ci_high


def test_bootstrap_in_chunks_has_as_many_resamples_and_the_same_interval(monkeypatch):
    values = np.random.default_rng(1).random(50)
    whole = bootstrap_mean(values, 5_000)
    monkeypatch.setattr("alignkit.eval.stats.CHUNK_CELLS", 700)
    chunked = bootstrap_mean(values, 5_000)
    assert chunked.value == whole.value
    assert chunked.ci_low == pytest.approx(whole.ci_low, abs=1e-9)
    assert chunked.ci_high == pytest.approx(whole.ci_high, abs=1e-9)


def test_paired_interval_is_narrower_than_the_unpaired_spread_where_models_agree():
    rng = np.random.default_rng(0)
    ours = (rng.random(400) < 0.5).astype(float)
    theirs = ours.copy()
    theirs[:10] = 1 - theirs[:10]
    paired = bootstrap_mean(ours - theirs, 5_000)
    alone = bootstrap_mean(ours, 5_000)
    assert paired.ci_high - paired.ci_low < 0.5 * (alone.ci_high - alone.ci_low)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    from scipy.stats import binomtest

    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected, abs=1e-9)


def test_equivalent_answers_join_the_first_seen_group():
    same = lambda first, later: {first, later} == {"1/2", "0.5"}  # noqa: E731
    assert group_equivalent(["1/2", "3", None, "0.5", "3", "4"], same) == [0, 1, -1, 0, 1, 2]


def test_k_values_shown_are_powers_of_two_and_n():
    assert powers_up_to(1) == [1] and powers_up_to(8) == [1, 2, 4, 8] and powers_up_to(10) == [1, 2, 4, 8, 10]


@pytest.mark.skipif(not DATA, reason="ALIGNKIT_EVAL_DATA names no folder with the official data")
def test_figures_of_the_published_eight_sample_set():
    from alignkit.eval.grading import equivalence_groups
    from alignkit.rewards.grading import GradingPool

    with gzip.open(Path(DATA or "") / "math" / "math100_8samples_graded.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    correct = np.array([row["is_correct"] for row in rows])
    shares = [100 * pass_at_k(correct, k).mean() for k in (1, 2, 4, 8)]
    assert shares == pytest.approx([87.75, 91.0714, 94.2286, 96.0], abs=1e-4)
    by_text = np.array([group_equivalent(row["preds"], lambda first, later: False) for row in rows])
    assert 100 * maj_at_k(correct, by_text, 8).mean() == pytest.approx(90.0)
    with GradingPool(2) as pool:
        graded = [pool.grade([(row["gold"], text) for text in row["responses"]]) for row in rows]
        groups = np.array([equivalence_groups([grade.extracted for grade in grades], pool) for grades in graded])
    verdicts = np.array([[grade.correct for grade in grades] for grades in graded])
    assert 100 * maj_at_k(verdicts, groups, 8).mean() == pytest.approx(90.0, abs=2.0)
